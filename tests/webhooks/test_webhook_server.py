"""Over a real socket: only what its source signed, now and once, is taken, and all it can cause is a note or a read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx
import pytest

from recovery.incoming import AUDITED, PREFIX, Inbox
from recovery.ledger.ledger import Ledger
from recovery.webhook_server import Receiver, keep_auditing, receiver_of, serving
from tests.ledger.counting import counts
from tests.recovery.stage import night

NOW = datetime(2026, 11, 1, 8, 20, tzinfo=UTC)
SECRET = {
    "outage": "whsec_" + base64.b64encode(b"canary-of-the-outage-source").decode(),
    "pagerduty": "canary-of-pagerduty",
    "slack": "canary-of-slack",
}
OLD = {"outage": "whsec_" + base64.b64encode(b"the-secret-before").decode(), "pagerduty": "old", "slack": "old"}
OTHER = {k: v[:-4] + "AAA=" for k, v in SECRET.items()}
BODIES = {
    "outage": json.dumps(
        {
            "event": "outage.resolved",
            "window": {"start": "2026-11-01T05:00:00Z", "end": "2026-11-01T07:00:00Z", "accounts": ["harbor"]},
        }
    ).encode(),
    "pagerduty": b'{"event": {"id": "01EV", "event_type": "incident.resolved", "data": {"id": "PINC"}}}',
    "slack": urlencode(
        {"payload": json.dumps({"user": {"id": "U1"}, "actions": [{"action_id": "allclear.audit"}]})}
    ).encode(),
    "statuspage": b'{"component": {"status": "operational"}, "start": "2020-01-01"}',
}


class Fixed:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return None


def mac(secret: str, content: bytes) -> bytes:
    return hmac.new(secret.encode(), content, hashlib.sha256).digest()


def signed(source: str, body: bytes, *, secret: str = "", at: datetime = NOW, ref: str = "msg_1") -> dict[str, str]:
    secret, stamp = secret or SECRET.get(source, ""), str(int(at.timestamp()))
    if source == "outage":
        key = base64.b64decode(secret.removeprefix("whsec_"))
        made = hmac.new(key, f"{ref}.{stamp}.".encode() + body, hashlib.sha256).digest()
        signature = "v1," + base64.b64encode(made).decode()
        return {"webhook-id": ref, "webhook-timestamp": stamp, "webhook-signature": signature}
    if source == "slack":
        made = mac(secret, f"v0:{stamp}:".encode() + body)
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": "v0=" + made.hex()}
    if source == "pagerduty":
        return {"X-PagerDuty-Signature": "v1=" + mac(secret, body).hex()}
    return {}


SIGNATURE = {
    "outage": "webhook-signature",
    "slack": "X-Slack-Signature",
    "pagerduty": "X-PagerDuty-Signature",
    "statuspage": "X-Signature",
}


def mutations(source: str):
    """Twelve deliveries that somebody could make without the secret, or from an authentic one that they saw."""
    body, name = BODIES[source], SIGNATURE[source]
    good = signed(source, body)
    signature = good.get(name, "v1=00")
    late = NOW - timedelta(seconds=301)
    yield "a byte changed", good, body[:-3] + b" " + body[-2:]
    yield "a byte more", good, body + b"\n"
    yield "another body", good, BODIES["pagerduty" if source != "pagerduty" else "outage"]
    yield "no body", good, b""
    yield "no signature", {k: v for k, v in good.items() if k != name}, body
    yield "an empty signature", {**good, name: ""}, body
    yield "half a signature", {**good, name: signature[: len(signature) // 2]}, body
    yield "a signature in capitals", {**good, name: signature.upper()}, body
    yield "signed with another secret", signed(source, body, secret=OTHER.get(source, "x")), body
    yield "signed twice", [*good.items(), (name, signature)], body
    yield "signed at another time", {**good, **later_stamp(source, late)}, body
    yield "signed for another source", signed("slack" if source != "slack" else "pagerduty", body), body


def later_stamp(source: str, at: datetime) -> dict[str, str]:
    """The time header of five minutes ago; where no time is signed, the hash of an older body."""
    stamp = str(int(at.timestamp()))
    timed = {"outage": {"webhook-timestamp": stamp}, "slack": {"X-Slack-Request-Timestamp": stamp}}
    return timed.get(source, {SIGNATURE[source]: "v1=" + hashlib.sha256(stamp.encode()).hexdigest()})


@asynccontextmanager
async def receiving(tmp_path, *, statuspage: bool = True, users=("U1",), reads=12):
    async with await Ledger.open(f"sqlite:///{tmp_path}/l.db", tmp_path / "state") as ledger:
        inbox = Inbox(ledger, Fixed(), ["harbor"], 24.0, frozenset(users), reads)
        receiver = Receiver(inbox, Fixed(), {k: (OLD[k], v) for k, v in SECRET.items()}, statuspage)
        async with serving(receiver, "127.0.0.1", 0) as port, httpx.AsyncClient(trust_env=False) as http:

            async def post(source, headers, body):
                return (await http.post(f"http://127.0.0.1:{port}/{source}", headers=headers, content=body)).status_code

            yield ledger, inbox, post


async def told(ledger):
    return [e for name in await ledger.streams("") for e in await ledger.stream(name)]


@pytest.mark.parametrize("source", ["outage", "pagerduty", "slack", "statuspage"])
async def test_of_twelve_forgeries_none_is_taken(tmp_path, source):
    async with receiving(tmp_path, reads=3) as (ledger, inbox, post):
        forged = list(mutations(source))
        assert len(forged) == 12
        codes = [await post(source, headers, body) for _, headers, body in forged]
        events = await told(ledger)
        if source == "statuspage":
            assert set(codes) == {202} and len(events) == len(inbox.wanted) == 3, "a hint is a bounded read"
            assert all("2020" not in str(e.data) for e in events), "nothing the sender wrote is kept"
        else:
            assert [code for code in codes if code != 401] == []
            assert events == [] and not inbox.wanted
        assert {k: v for k, v in (await counts(ledger)).items() if v} == {}


@pytest.mark.parametrize("source", ["outage", "pagerduty", "slack"])
async def test_an_authentic_delivery_is_taken_once_however_often_it_comes(tmp_path, source):
    async with receiving(tmp_path) as (ledger, inbox, post):
        body = BODIES[source]
        codes = [await post(source, signed(source, body), body) for _ in range(4)]
        assert codes == [202, 200, 200, 200]
        assert len(await told(ledger)) == 1
        assert len(inbox.wanted) == (0 if source == "pagerduty" else 1)


async def test_a_thousand_forged_hints_move_nothing_and_cause_a_bounded_number_of_reads(tmp_path):
    async with receiving(tmp_path) as (ledger, inbox, post):
        for n in range(1000):
            await post("statuspage", {}, json.dumps({"component": {"status": "operational", "n": n}}).encode())
        assert len(inbox.wanted) == len(await told(ledger)) == 12
        assert {k: v for k, v in (await counts(ledger)).items() if v} == {}


async def test_a_source_without_a_secret_is_not_served(tmp_path):
    async with receiving(tmp_path, statuspage=False) as (_, _inbox, post):
        assert await post("statuspage", {}, b"{}") == 404
        assert await post("jira", {}, b"{}") == 404


async def test_a_stranger_s_button_and_a_body_too_large_cause_nothing(tmp_path):
    async with receiving(tmp_path, users=()) as (ledger, inbox, post):
        assert await post("slack", signed("slack", BODIES["slack"]), BODIES["slack"]) == 202
        assert not inbox.wanted and "may not press" in str((await told(ledger))[0].data)
        huge = b"x" * 1_000_001
        assert await post("pagerduty", signed("pagerduty", huge), huge) == 413


@pytest.mark.parametrize(
    "window",
    [
        {"start": "2026-11-01T05:00:00Z", "end": "2026-11-01T07:00:00Z", "accounts": ["orchard"]},
        {"start": "2026-11-01T05:00:00", "end": "2026-11-01T07:00:00"},
        {"start": "2020-01-01T00:00:00Z", "end": "2026-11-01T07:00:00Z"},
        {"start": 5, "end": []},
        {"accounts": {"harbor": 1}, "start": "2026-11-01T05:00:00Z", "end": "2026-11-01T07:00:00Z"},
        None,
    ],
)
async def test_a_signed_delivery_that_makes_no_sense_is_refused_and_not_remembered(tmp_path, window):
    async with receiving(tmp_path) as (ledger, inbox, post):
        body = json.dumps({"event": "outage.resolved", "window": window}).encode()
        assert await post("outage", signed("outage", body), body) == 422
        assert await told(ledger) == [] and not inbox.wanted


async def test_what_was_wanted_before_a_restart_is_audited_after_it(tmp_path):
    async with receiving(tmp_path) as (ledger, inbox, post):
        body = BODIES["outage"]
        await post("outage", signed("outage", body), body)
        again = Inbox(ledger, Fixed(), ["harbor"], 24.0)
        await again.resume()
        assert [w for _, w in again.wanted] == [w for _, w in inbox.wanted]

        async def audit(window):
            return {"missed": 1, "incident": window.incident_ref}

        assert await again.audit_next(audit) and not await again.audit_next(audit)
        third = Inbox(ledger, Fixed(), ["harbor"], 24.0)
        await third.resume()
        assert not third.wanted


async def test_a_signed_end_of_an_outage_starts_an_audit_of_its_window_and_nothing_more(tmp_path, monkeypatch):
    import asyncio

    async with night(tmp_path, "one-campaign") as n:
        monkeypatch.setenv("OUTAGE_SECRET", SECRET["outage"])
        with n.config.open("a") as file:
            file.write('\n[webhooks]\noutage = [{ env = "OUTAGE_SECRET" }]\n')
        async with n.open() as systems:
            receiver = receiver_of(systems)
            auditing = asyncio.create_task(keep_auditing(systems, receiver.inbox))
            async with serving(receiver, "127.0.0.1", 0) as port, httpx.AsyncClient(trust_env=False) as http:
                body = BODIES["outage"]
                headers = signed("outage", body, at=systems.clock.now())
                reply = await http.post(f"http://127.0.0.1:{port}/outage", headers=headers, content=body)
                assert reply.status_code == 202
                (stream,) = await systems.ledger.streams(PREFIX)
                while len(events := await systems.ledger.stream(stream)) < 2:
                    await asyncio.sleep(0.02)
            auditing.cancel()
            assert events[1].kind == AUDITED and events[1].data["missed"] == 1
            assert await systems.ledger.latest_plan() is None and n.writes() == []
