"""Only a delivery that its source signed, now and for us, and only once, may cause anything (threats S4 and S5)."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.webhooks import (
    Authentic,
    Delivery,
    ForgedDeliveryError,
    ReadAgain,
    RepeatedDeliveryError,
    Signer,
    Unsigned,
    accept,
    hint,
    verify,
)
from recovery.errors import ConfigError

NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
BODY = json.dumps({"event": {"id": "01EV", "event_type": "incident.resolved"}, "text": "naïve 😀"}).encode()
SECRETS = {signer: f"canary-secret-of-{signer}" for signer in Signer} | {
    Signer.STANDARD: "whsec_" + base64.b64encode(b"canary-secret-of-standard").decode()
}
OTHER_SECRETS = {signer: secret[:-4] + "AAA=" for signer, secret in SECRETS.items()}


def mac(secret: str, content: bytes) -> bytes:
    return hmac.new(secret.encode(), content, hashlib.sha256).digest()


def slack(secret: str, body: bytes, at: datetime) -> list[tuple[str, str]]:
    stamp = str(int(at.timestamp()))
    signature = "v0=" + mac(secret, f"v0:{stamp}:".encode() + body).hex()
    return [("X-Slack-Request-Timestamp", stamp), ("X-Slack-Signature", signature)]


def zendesk(secret: str, body: bytes, at: datetime) -> list[tuple[str, str]]:
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = base64.b64encode(mac(secret, stamp.encode() + body)).decode()
    return [("X-Zendesk-Webhook-Signature-Timestamp", stamp), ("X-Zendesk-Webhook-Signature", signature)]


def standard(secret: str, body: bytes, at: datetime) -> list[tuple[str, str]]:
    stamp = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"msg_1.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return [("webhook-id", "msg_1"), ("webhook-timestamp", stamp), ("webhook-signature", signature)]


def pagerduty(secret: str, body: bytes, _: datetime) -> list[tuple[str, str]]:
    return [("X-Webhook-Id", "w1"), ("X-PagerDuty-Signature", "v1=" + mac(secret, body).hex())]


def jira(secret: str, body: bytes, _: datetime) -> list[tuple[str, str]]:
    return [("X-Hub-Signature", "sha256=" + mac(secret, body).hex())]


def clickup(secret: str, body: bytes, _: datetime) -> list[tuple[str, str]]:
    return [("X-Signature", mac(secret, body).hex())]


@dataclass(frozen=True)
class Source:
    signer: Signer
    sign: Callable[[str, bytes, datetime], list[tuple[str, str]]]
    signature: str
    time: str = ""
    ref: str = ""


SOURCES = {
    source.signer: source
    for source in (
        Source(Signer.SLACK, slack, "X-Slack-Signature", time="X-Slack-Request-Timestamp"),
        Source(Signer.ZENDESK, zendesk, "X-Zendesk-Webhook-Signature", time="X-Zendesk-Webhook-Signature-Timestamp"),
        Source(Signer.STANDARD, standard, "webhook-signature", time="webhook-timestamp", ref="webhook-id"),
        Source(Signer.PAGERDUTY, pagerduty, "X-PagerDuty-Signature"),
        Source(Signer.JIRA, jira, "X-Hub-Signature"),
        Source(Signer.CLICKUP, clickup, "X-Signature"),
    )
}
PREFIXES = ("v0=", "v1=", "sha256=", "v1,")
TIMED = [s for s in SOURCES.values() if s.time]


def real(source: Source, body: bytes = BODY, at: datetime = NOW) -> Delivery:
    return Delivery(source.sign(SECRETS[source.signer], body, at), body)


def changed(delivery: Delivery, name: str, change: Callable[[str], str]) -> Delivery:
    headers = [(key, change(value) if key == name else value) for key, value in delivery.headers]
    return Delivery(headers, delivery.body)


def check(source: Source, delivery: Delivery, now: datetime = NOW) -> Authentic:
    return verify(source.signer, delivery, [SECRETS[source.signer]], now)


@dataclass
class Memory:
    """Remembers in a set, as one process would."""

    refs: set[str] = dataclasses.field(default_factory=set)

    async def seen(self, delivery_ref: str) -> bool:
        known = delivery_ref in self.refs
        self.refs.add(delivery_ref)
        return known


def upper_hex_or_swapped_base64(value: str) -> str:
    _, _, code = value.rpartition("=") if not value.endswith("=") else ("", "", value)
    return value.removesuffix(code) + (code.upper() if code != code.upper() else code.swapcase())


def other_encoding(value: str) -> str:
    """The same MAC bytes written in the other usual way: hex as base64, base64 as hex."""
    for prefix in PREFIXES:
        if value.startswith(prefix):
            return prefix + other_encoding(value.removeprefix(prefix))
    try:
        return base64.b64encode(bytes.fromhex(value)).decode()
    except ValueError:
        return base64.b64decode(value).hex()


MUTATIONS: dict[str, Callable[[Source], Delivery]] = {
    "body": lambda s: Delivery(real(s).headers, BODY.replace(b"resolved", b"reopened")),
    "body_rewritten_as_equal_json": lambda s: Delivery(
        real(s).headers, json.dumps(json.loads(BODY), indent=1).encode()
    ),
    "late": lambda s: real(s, at=NOW - timedelta(seconds=301)),
    "early": lambda s: real(s, at=NOW + timedelta(seconds=301)),
    "time_moved_after_signing": lambda s: changed(real(s), s.time, lambda v: v[:-2] + ("1" + v[-1])),
    "case": lambda s: changed(real(s), s.signature, upper_hex_or_swapped_base64),
    "missing": lambda s: Delivery([h for h in real(s).headers if h[0] != s.signature], BODY),
    "empty": lambda s: changed(real(s), s.signature, lambda _: ""),
    "other_tenant": lambda s: Delivery(s.sign(OTHER_SECRETS[s.signer], BODY, NOW), BODY),
    "two_wrong_signatures": lambda s: changed(
        Delivery(s.sign(OTHER_SECRETS[s.signer], BODY, NOW), BODY), s.signature, lambda v: f"{v},{v} {v}"
    ),
    "duplicate_header": lambda s: Delivery([*real(s).headers, (s.signature.upper(), "x")], BODY),
    "duplicate_header_in_front": lambda s: Delivery([(s.signature, "x"), *real(s).headers], BODY),
    "encoding": lambda s: changed(real(s), s.signature, other_encoding),
    "length_shorter": lambda s: changed(real(s), s.signature, lambda v: v[:-8]),
    "length_longer": lambda s: changed(real(s), s.signature, lambda v: v + "00"),
    "scheme_only": lambda s: changed(
        real(s), s.signature, lambda v: next((p for p in PREFIXES if v.startswith(p)), "=")
    ),
    "unknown_scheme": lambda s: changed(real(s), s.signature, lambda v: "v9" + v[2:]),
    "surrogate": lambda s: changed(real(s), s.signature, lambda _: "v1=\udcff"),
    "many_signatures": lambda s: changed(
        real(s), s.signature, lambda v: ",".join(["v1=00"] * 9 + [v]) + " " + " ".join(["v1,00"] * 9)
    ),
    "ref_moved_after_signing": lambda s: changed(real(s), s.ref, lambda _: "msg_2"),
}
NEEDS = {"late": "time", "early": "time", "time_moved_after_signing": "time", "ref_moved_after_signing": "ref"}
MUTANTS = [
    pytest.param(source, name, id=f"{source.signer}-{name}")
    for source in SOURCES.values()
    for name in MUTATIONS
    if name not in NEEDS or getattr(source, NEEDS[name])
]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_signed_delivery_is_authentic_and_keeps_its_raw_body(source: Source) -> None:
    assert check(source, real(source)).body == BODY


@pytest.mark.parametrize(("source", "mutation"), MUTANTS)
def test_every_mutation_of_a_signed_delivery_is_refused(source: Source, mutation: str) -> None:
    with pytest.raises(ForgedDeliveryError):
        check(source, MUTATIONS[mutation](source))


@pytest.mark.parametrize("source", TIMED, ids=[s.signer for s in TIMED])
def test_a_signed_time_up_to_300_seconds_off_is_accepted(source: Source) -> None:
    for offset in (-300, 300):
        assert check(source, real(source, at=NOW + timedelta(seconds=offset))).signed_at is not None


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_a_replay_is_refused_and_a_forgery_leaves_no_memory(source: Source) -> None:
    memory, secrets = Memory(), [SECRETS[source.signer]]
    with pytest.raises(ForgedDeliveryError):
        await accept(source.signer, MUTATIONS["body"](source), secrets, NOW, memory)
    assert not memory.refs
    await accept(source.signer, real(source), secrets, NOW, memory)
    with pytest.raises(RepeatedDeliveryError):
        await accept(source.signer, real(source), secrets, NOW, memory)


async def test_a_replay_under_another_unsigned_delivery_id_is_still_a_replay() -> None:
    source, memory = SOURCES[Signer.PAGERDUTY], Memory()
    await accept(source.signer, real(source), [SECRETS[source.signer]], NOW, memory)
    renamed = changed(real(source), "X-Webhook-Id", lambda _: "w2")
    with pytest.raises(RepeatedDeliveryError):
        await accept(source.signer, renamed, [SECRETS[source.signer]], NOW, memory)


async def test_slack_redelivering_with_a_new_time_is_recognised() -> None:
    source, memory = SOURCES[Signer.SLACK], Memory()
    await accept(source.signer, real(source), [SECRETS[source.signer]], NOW, memory)
    with pytest.raises(RepeatedDeliveryError):
        again = real(source, at=NOW + timedelta(seconds=60))
        await accept(source.signer, again, [SECRETS[source.signer]], NOW + timedelta(seconds=60), memory)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_while_secrets_rotate_either_one_is_good(source: Source) -> None:
    secrets = [OTHER_SECRETS[source.signer], SECRETS[source.signer]]
    assert verify(source.signer, real(source), secrets, NOW).signer is source.signer


def test_one_good_signature_among_several_is_enough_where_the_vendor_sends_several() -> None:
    for signer, before in ((Signer.PAGERDUTY, "v1=" + "0" * 64 + ","), (Signer.STANDARD, "v1,AAAA ")):
        source = SOURCES[signer]
        check(source, changed(real(source), source.signature, lambda v, b=before: b + v))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("secrets", [[], [""], ["good", ""]], ids=["none", "empty", "one_empty"])
def test_an_unset_secret_is_a_setup_error_and_never_a_key(source: Source, secrets: list[str]) -> None:
    with pytest.raises(ConfigError):
        verify(source.signer, Delivery(source.sign("", BODY, NOW), BODY), secrets, NOW)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!"])
def test_an_unusable_standard_secret_is_a_setup_error(secret: str) -> None:
    with pytest.raises(ConfigError):
        verify(Signer.STANDARD, real(SOURCES[Signer.STANDARD]), [secret], NOW)


def test_an_oversized_delivery_is_refused_even_when_signed() -> None:
    source = SOURCES[Signer.JIRA]
    with pytest.raises(ForgedDeliveryError):
        check(source, real(source, body=b" " * 1_000_001))


@settings(max_examples=60)
@given(
    signer=st.sampled_from(list(Signer)),
    values=st.lists(st.text(max_size=90), min_size=3, max_size=3),
    body=st.binary(max_size=200),
)
def test_random_headers_are_refused_and_nothing_else_happens(signer: Signer, values: list[str], body: bytes) -> None:
    source = SOURCES[signer]
    names = [source.signature, source.time or "a", source.ref or "b"]
    with pytest.raises(ForgedDeliveryError):
        check(source, Delivery(list(zip(names, values, strict=True)), body))


def test_neither_a_refusal_nor_a_repr_shows_a_secret_or_the_body() -> None:
    source = SOURCES[Signer.SLACK]
    with pytest.raises(ForgedDeliveryError) as refusal:
        check(source, MUTATIONS["body"](source))
    shown = f"{refusal.value!r} {real(source)!r} {check(source, real(source))!r}"
    assert "canary" not in shown
    assert "incident" not in shown


def test_an_unsigned_source_can_only_ask_for_one_more_read() -> None:
    """1,000 forged deliveries are all the same value: there is nothing in it that a sender could have chosen."""
    assert [f.name for f in dataclasses.fields(ReadAgain)] == ["source"]
    assert {hint(Unsigned.STATUSPAGE) for _ in range(1000)} == {ReadAgain(Unsigned.STATUSPAGE)}
    assert not set(Unsigned) & {str(s) for s in Signer}
