"""Incoming webhooks: is this delivery from who it says, is it new, and what may it cause?

Pure checks over the raw body (never over parsed and re-written JSON); no IO, no clock. A signed delivery that passes
becomes `Authentic`; what the caller does with it is the caller's rule. An unsigned source can only ever become a
`ReadAgain`, which has no room for anything the sender wrote.

    source      signature over                 header                         time check   known again by
    Slack       "v0:" time ":" body            X-Slack-Signature              ±300 s       body
    Zendesk     time body (base64)             X-Zendesk-Webhook-Signature    ±300 s       time and body
    Standard    id "." time "." body (base64)  webhook-signature              ±300 s       signed id
    PagerDuty   body, several allowed          X-PagerDuty-Signature          none         event id in the body
    Jira        body                           X-Hub-Signature                none         body
    ClickUp     body                           X-Signature                    none         body

The last three sign no time of sending (PagerDuty redelivers for 48 hours), so only the memory of deliveries stops their
replay. Delivery-id headers are not covered by those signatures and are therefore never used to recognise a repeat.

Sources: https://docs.slack.dev/authentication/verifying-requests-from-slack ·
https://developer.pagerduty.com/docs/webhooks-v3-overview ·
https://developer.zendesk.com/documentation/webhooks/verifying/ ·
https://developer.atlassian.com/cloud/jira/platform/webhooks/ · https://developer.clickup.com/docs/webhooksignature ·
https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from recovery.errors import ConfigError, RefusedError

TOLERANCE_SECONDS = 300
MAX_BODY_BYTES = 1_000_000
MAX_SIGNATURES = 8
"""More candidates than any rotation needs only help someone who guesses."""


class Signer(StrEnum):
    """Who signs what it sends us."""

    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    ZENDESK = "zendesk"
    JIRA = "jira"
    CLICKUP = "clickup"
    STANDARD = "standard"


class Unsigned(StrEnum):
    """Who sends without a signature; anyone on the internet can pretend to be one of these."""

    STATUSPAGE = "statuspage"
    ACTIVECAMPAIGN = "activecampaign"


class ForgedDeliveryError(RefusedError):
    """The delivery is not proven to come from its source (answer 401, do nothing, keep nothing)."""


class RepeatedDeliveryError(RefusedError):
    """An authentic delivery that was accepted before (answer 200 so that the sender stops, do nothing)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as received: every header line in order (repeats kept) and the body's bytes."""

    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """The header's only value; raises `ForgedDeliveryError` when it is absent, empty or there twice."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        if len(values) != 1 or not values[0]:
            raise ForgedDeliveryError(f"the delivery must carry {name} exactly once")
        return values[0]


@dataclass(frozen=True, slots=True)
class Authentic:
    """A delivery whose signature is right. `delivery_ref` is the same for every redelivery of it."""

    signer: Signer
    delivery_ref: str
    body: bytes = field(repr=False)
    signed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """All that an unsigned delivery may cause: one more read of that source with our own credentials.

    It carries nothing the sender chose, so it cannot start, move or close anything (design, invariant 12; S5).
    """

    source: Unsigned


class SeenDeliveries(Protocol):
    """Memory of accepted deliveries, shared by every process that receives them.

    Keep entries for as long as the signing secret lives: half of the sources sign no time.
    """

    async def seen(self, delivery_ref: str) -> bool:
        """Record the reference; True when it was there already. One atomic step, or two receivers both act."""
        ...


def hint(source: Unsigned) -> ReadAgain:
    """What an unsigned source's delivery comes to, whatever its body says."""
    return ReadAgain(source)


def verify(signer: Signer, delivery: Delivery, secrets: Sequence[str], now: datetime) -> Authentic:
    """Check one delivery against the secrets in force (the new and the old one while they rotate).

    Raises `ForgedDeliveryError` for anything less than an exact match and `ConfigError` when no usable secret is given,
    because an empty secret would let everyone sign. Comparisons take the same time wherever they differ.
    """
    if not secrets or not all(secrets):
        raise ConfigError(f"no signing secret is set for {signer.value}", "set it before opening the webhook")
    if len(delivery.body) > MAX_BODY_BYTES:
        raise ForgedDeliveryError("the delivery is larger than any of its kind")
    return _CHECKS[signer](delivery, secrets, now)


async def accept(
    signer: Signer, delivery: Delivery, secrets: Sequence[str], now: datetime, memory: SeenDeliveries
) -> Authentic:
    """`verify`, then refuse what was accepted before: raises `ForgedDeliveryError` or `RepeatedDeliveryError`.

    The memory is asked only about authentic deliveries, so a forger cannot fill it or mark a real one as seen.
    """
    authentic = verify(signer, delivery, secrets, now)
    if await memory.seen(f"{signer.value}:{authentic.delivery_ref}"):
        raise RepeatedDeliveryError(f"this {signer.value} delivery was accepted before")
    return authentic


def _slack(delivery: Delivery, secrets: Sequence[str], now: datetime) -> Authentic:
    stamp = delivery.header("X-Slack-Request-Timestamp")
    signed_at = _recent(_seconds(stamp), now)
    content = b"v0:" + _bytes(stamp) + b":" + delivery.body
    _match([delivery.header("X-Slack-Signature")], ["v0=" + _hex(_key(s), content) for s in secrets])
    # Slack redelivers with a fresh time but the same body, which holds an event id or a one-use trigger id.
    return Authentic(Signer.SLACK, _digest(delivery.body), delivery.body, signed_at)


def _zendesk(delivery: Delivery, secrets: Sequence[str], now: datetime) -> Authentic:
    stamp = delivery.header("X-Zendesk-Webhook-Signature-Timestamp")
    signed_at = _recent(_iso(stamp), now)
    content = _bytes(stamp) + delivery.body
    _match([delivery.header("X-Zendesk-Webhook-Signature")], [_base64(_key(s), content) for s in secrets])
    # Two tickets may render the same body, so the signed time belongs to the identity.
    return Authentic(Signer.ZENDESK, _digest(content), delivery.body, signed_at)


def _standard(delivery: Delivery, secrets: Sequence[str], now: datetime) -> Authentic:
    ref, stamp = delivery.header("webhook-id"), delivery.header("webhook-timestamp")
    signed_at = _recent(_seconds(stamp), now)
    content = _bytes(f"{ref}.{stamp}.") + delivery.body
    offered = delivery.header("webhook-signature").split(" ")
    _match(offered, ["v1," + _base64(_whsec(s), content) for s in secrets])
    return Authentic(Signer.STANDARD, _digest(_bytes(ref)), delivery.body, signed_at)


def _pagerduty(delivery: Delivery, secrets: Sequence[str], _: datetime) -> Authentic:
    offered = [part.strip() for part in delivery.header("X-PagerDuty-Signature").split(",")]
    _match(offered, ["v1=" + _hex(_key(s), delivery.body) for s in secrets])
    return Authentic(Signer.PAGERDUTY, _event_ref(delivery.body), delivery.body)


def _jira(delivery: Delivery, secrets: Sequence[str], _: datetime) -> Authentic:
    offered = [delivery.header("X-Hub-Signature")]
    _match(offered, ["sha256=" + _hex(_key(s), delivery.body) for s in secrets])
    return Authentic(Signer.JIRA, _digest(delivery.body), delivery.body)


def _clickup(delivery: Delivery, secrets: Sequence[str], _: datetime) -> Authentic:
    _match([delivery.header("X-Signature")], [_hex(_key(s), delivery.body) for s in secrets])
    return Authentic(Signer.CLICKUP, _digest(delivery.body), delivery.body)


_CHECKS: Mapping[Signer, Callable[[Delivery, Sequence[str], datetime], Authentic]] = {
    Signer.SLACK: _slack,
    Signer.ZENDESK: _zendesk,
    Signer.STANDARD: _standard,
    Signer.PAGERDUTY: _pagerduty,
    Signer.JIRA: _jira,
    Signer.CLICKUP: _clickup,
}


def _match(offered: Sequence[str], expected: Sequence[str]) -> None:
    if len(offered) > MAX_SIGNATURES:
        raise ForgedDeliveryError("too many signatures")
    hits = [hmac.compare_digest(_bytes(one), _bytes(other)) for one in offered for other in expected]
    if not any(hits):
        raise ForgedDeliveryError("the signature does not match")


def _recent(signed_at: datetime, now: datetime) -> datetime:
    if abs((now - signed_at).total_seconds()) > TOLERANCE_SECONDS:
        raise ForgedDeliveryError("the signed time is more than 300 seconds from ours")
    return signed_at


def _seconds(text: str) -> datetime:
    # int() also reads " 12 ", "1_2" and digits of other scripts; a vendor writes none of these.
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise ForgedDeliveryError("the signed time is not a Unix time")
    return datetime.fromtimestamp(int(text), UTC)


def _iso(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ForgedDeliveryError("the signed time is not RFC 3339") from None
    if moment.tzinfo is None:
        raise ForgedDeliveryError("the signed time has no zone")
    return moment.astimezone(UTC)


def _event_ref(body: bytes) -> str:
    try:
        ref = json.loads(body)["event"]["id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return _digest(body)
    return _digest(_bytes(ref)) if isinstance(ref, str) and ref else _digest(body)


def _whsec(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("a Standard Webhooks secret is base64, usually after whsec_") from None
    if not key:
        raise ConfigError("a Standard Webhooks secret must not be empty")
    return key


def _key(secret: str) -> bytes:
    return secret.encode()


def _bytes(text: str) -> bytes:
    # A header may hold anything, lone surrogates included; it must end in a refusal, not in an encoding error.
    return text.encode("utf-8", "replace")


def _hex(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _base64(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
