"""The one transport: every byte to a remote system over HTTP leaves through here.

`Transport.read` retries, because a read is free to repeat. `Transport.write` sends exactly one request for one open
attempt and classifies whatever comes back; it is the only way to change anything at a remote, and it cannot be called
without the ledger's `OpenAttempt` (design, invariants 3, 4 and 6).

Requests go straight into the pools of `integrations.sockets` instead of through `httpx.AsyncClient`: a
client would bring redirects, a cookie jar shared by all accounts, proxies from the environment and, with httpx 0.28's
own pool, 7 to 8 ms of CPU a call at 50 connections. Without a client none of these is there to be left on by mistake.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import httpx
from opentelemetry import trace

from integrations.evidence import kept_body, kept_request, redact_text, redact_url, secret_forms
from integrations.fields import Fields
from integrations.oneshot import TooLargeError
from integrations.outgoing import Base, Call, Outgoing, Params, build_request, credential_values, sendable
from integrations.patience import AgainError, Patience
from integrations.replies import (
    TOO_MANY,
    CapabilityManifest,
    Judge,
    Reply,
    classify,
    is_json_type,
    limit_wait_seconds,
    not_sent,
    reason_of,
)
from integrations.sockets import (
    Pool,
    Sockets,
    checked_base,
    failure_words,
    lost_connection,
    never_left,
    segment,
)
from recovery.errors import (
    AllclearError,
    AuthFailed,
    BadReply,
    ConfigError,
    NotFound,
    Refused,
    RemoteError,
    Unavailable,
)
from recovery.model import AttemptOutcome, Exchange, OpenAttempt, WriteResult
from recovery.ports import Clock, Keep, RateGate

__all__ = [
    "CapabilityManifest",
    "Fields",
    "Headers",
    "Judge",
    "Reply",
    "Sockets",
    "Timeouts",
    "Transport",
    "is_json_type",
    "segment",
]

DEFAULT_PENALTY_SECONDS = 2.0

Headers: TypeAlias = Mapping[str, str] | Callable[[], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `total` bounds one try of a read from connect to last byte; a write is bounded by its attempt instead.

    `longest_wait` is how long a read that is refused for rate waits in all; a longer Retry-After fails it at once.
    """

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0
    longest_wait: float = 120.0


class Transport:
    """HTTP to one system of one account. `base_url` is https, or http to a loopback address; anything else is refused.

    `headers` are the credentials (a mapping, or a coroutine function for tokens that are refreshed); their values and
    `secrets` never appear in errors, spans or evidence. `limited_before_execute` states that the remote is *proven* to
    refuse with 429/503 before doing anything; without that proof such a reply to a write is UNKNOWN. `budget` is the
    name under which the gate counts its calls, where one system has several limits ("" for the system's own).
    """

    def __init__(
        self,
        *,
        system: str,
        account: str,
        base_url: str,
        headers: Headers,
        sockets: Sockets,
        clock: Clock,
        gate: RateGate,
        keep: Keep | None = None,
        timeouts: Timeouts = Timeouts(),
        limited_before_execute: bool = False,
        secrets: tuple[str, ...] = (),
        read_retries: int = 3,
        budget: str = "",
    ) -> None:
        self.system = system
        self.account = account
        self._budget = budget or system
        self.clock = clock
        self._base = Base.of(checked_base(base_url, system, account))
        self._headers = headers if not isinstance(headers, Mapping) else sendable(headers, system, account)
        self._sockets = sockets
        self._gate = gate
        self._keep = keep
        self._timeouts = timeouts
        self._limited_before_execute = limited_before_execute
        self._given = secrets
        self._forms = secret_forms((*secrets, *credential_values(headers))) if isinstance(headers, Mapping) else ()
        self._patience = Patience(read_retries + 1, timeouts.longest_wait)
        self._tracer = trace.get_tracer("allclear.integrations")

    # ---- reads -----------------------------------------------------------------------------------------------------

    async def read(
        self,
        op: str,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A complete 2xx reply, else `Unavailable`, `AuthFailed`, `NotFound`, `Refused` or `BadReply`.

        Failures of the network and of the server are tried again, after the wait that the remote names or with back-off
        and jitter.

        `method` is GET, or POST where the vendor made a search a POST; anything else is a write and refused here.
        """
        if method not in ("GET", "POST", "HEAD"):
            raise ValueError(f"{method} changes the remote: use write()")
        call = Call(op, method, path, params, json, data, headers)
        with self._span(call) as span:
            try:
                reply = await self._patience.until_read(lambda: self._read_once(call), self.clock.sleep)
            except (AgainError, RemoteError) as problem:
                error = problem.error if isinstance(problem, AgainError) else problem
                span.set_attribute("error.type", type(error).__name__)
                raise error from None
            span.set_attribute("http.response.status_code", reply.status)
            return reply

    async def record(
        self,
        op: str,
        path: str,
        *,
        method: str = "GET",
        params: Params | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fields:
        """A read whose reply must be a JSON object; `BadReply` otherwise."""
        reply = await self.read(op, method, path, params=params, json=json, headers=headers)
        return self.fields(op, reply)

    def fields(self, op: str, reply: Reply) -> Fields:
        """The reply's JSON object for reading field by field; `BadReply` when it is none."""
        try:
            return Fields(reply.obj(), self.system, self.account, op, reply.digest)
        except ValueError as problem:
            raise self.bad(op, str(problem)) from None

    def rows(self, op: str, reply: Reply) -> list[Fields]:
        """The reply's JSON list of objects; `BadReply` when it is none."""
        try:
            return Fields({op: reply.json()}, self.system, self.account, op, reply.digest).records(op)
        except ValueError as problem:
            raise self.bad(op, str(problem)) from None

    def bad(self, op: str, problem: str) -> BadReply:
        """The error for a reply that breaks the contract."""
        return BadReply(
            self.system,
            self.account,
            f"{op}: {redact_text(problem, self._forms)}",
            "check the base URL; if it is right, the remote changed: keep the evidence and tell its vendor",
        )

    async def _read_once(self, call: Call) -> Reply:
        op = call.op
        request = await self._request(call)
        await self._gate.acquire(self.account, self._budget)
        try:
            async with asyncio.timeout(self._timeouts.total):
                reply = await self._exchange(self._sockets.reads, request, self._timeouts.connect)
        except TimeoutError:
            raise self._again(op, f"no complete answer in {self._timeouts.total:g} s") from None
        except TooLargeError as problem:
            raise self.bad(op, str(problem)) from None
        except (httpx.ReadError, httpx.RemoteProtocolError, httpx.DecodingError) as problem:
            error = self.bad(op, f"the reply broke off ({type(problem).__name__})")
            raise AgainError(
                error if not lost_connection(problem) else self._unavailable(op, failure_words(problem))
            ) from None
        except (httpx.HTTPError, OSError) as problem:
            raise self._again(op, failure_words(problem)) from None
        if self._keep is not None:
            await self._keep(self._exchange_record(request, reply))
        return self._usable(op, reply)

    def _usable(self, op: str, reply: Reply) -> Reply:
        """The reply when it is a 2xx that is not a web page, else the error that says what it was."""
        status = reply.status
        if 200 <= status < 300:
            if "html" in reply.content_type and reply.body.lstrip()[:1] == b"<":
                # Mostly a proxy's word about a passing trouble, told as if all were well.
                raise AgainError(self.bad(op, f"{status} with an HTML page instead of data"))
            return reply
        reason = redact_text(reason_of(reply), self._forms)
        who = (self.system, self.account)
        if 300 <= status < 400:
            where = redact_url(reply.headers.get("location", ""), self._forms) or "nowhere"
            raise self.bad(op, f"{status}, a redirect to {where}; redirects are not followed")
        if status == 401:
            raise AuthFailed(
                *who, f"{op}: 401, the credentials were refused: {reason}", "renew the token in the settings"
            )
        if status == 403:
            hint = "check the token in the settings: it is wrong or expired, or its user may not do this"
            raise AgainError(AuthFailed(*who, f"{op}: 403, not allowed: {reason}", hint))
        if status in (404, 410):
            raise NotFound(*who, f"{op}: {status}, it is not there: {reason}", "check the id and the base URL")
        if status in TOO_MANY or status >= 500 or status in (408, 425):
            raise self._throttled(op, reply, reason)
        raise Refused(*who, f"{op}: refused with {status}: {reason}", "the request is wrong for this remote")

    def _throttled(self, op: str, reply: Reply, reason: str) -> Exception:
        wait = limit_wait_seconds(reply.status, reply.headers, reply.at)
        self._slow_down(reply.status, wait)
        error = self._unavailable(op, f"answered {reply.status}: {reason}")
        if wait is not None and wait > self._timeouts.longest_wait:
            return Unavailable(self.system, self.account, f"{op}: asks to come back in {wait:.0f} s", "run again later")
        return AgainError(error, wait, limited=reply.status in TOO_MANY)

    def _slow_down(self, status: int, wait: float | None) -> None:
        if status in TOO_MANY or (status == 503 and wait is not None):
            self._gate.penalize(self.account, self._budget, DEFAULT_PENALTY_SECONDS if wait is None else wait)

    def _unavailable(self, op: str, what: str) -> Unavailable:
        return Unavailable(
            self.system,
            self.account,
            f"{op}: {what} ({self._patience.tries} tries)",
            "look at the vendor's status page and the network, then run the command again; nothing is lost",
        )

    def _again(self, op: str, what: str) -> AgainError:
        return AgainError(self._unavailable(op, what))

    # ---- writes ----------------------------------------------------------------------------------------------------

    async def write(
        self,
        attempt: OpenAttempt,
        op: str,
        method: str,
        path: str,
        *,
        judge: Judge,
        params: Params | None = None,
        json: Any = None,
        data: Mapping[str, str] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content_type_ok: Callable[[str], bool] = is_json_type,
    ) -> WriteResult:
        """Send one request, once, on a connection of its own, and say what came of it.

        No byte leaves after `attempt.send_by_monotonic`; an answer that is not complete within
        `attempt.deadline_seconds` is UNKNOWN. Never retried, never redirected. Raises nothing for what the remote said
        or failed to say; `asyncio.CancelledError` passes, and leaves the attempt open to be settled by reading.
        """
        call = Call(op, method, path, params, json, data, headers)
        with self._span(call) as span:
            give_up_at = self.clock.monotonic() + attempt.deadline_seconds
            ready = await self._ready(attempt, call, give_up_at)
            if isinstance(ready, WriteResult):
                result = ready
            else:
                result = await self._send(attempt, ready, give_up_at, judge, content_type_ok)
            span.set_attribute("allclear.outcome", result.outcome.value)
            span.set_attribute("allclear.attempt", attempt.attempt_ref)
            return replace(result, detail=redact_text(result.detail, self._forms))

    async def _ready(self, attempt: OpenAttempt, call: Call, give_up_at: float) -> Outgoing | WriteResult:
        """The request once it is this account's turn, or why nothing was sent."""
        try:
            async with asyncio.timeout(attempt.deadline_seconds):
                request = await self._request(call)
                await self._gate.acquire(self.account, self._budget)
        except (RemoteError, ConfigError) as problem:  # no token could be got, so nothing was sent
            return not_sent(str(problem), auth_failed=isinstance(problem, AuthFailed))
        except TimeoutError:
            return not_sent("its turn did not come in time")
        now = self.clock.monotonic()
        if now >= attempt.send_by_monotonic or now >= give_up_at:
            return not_sent("the attempt's time to send had passed")
        return request

    async def _send(
        self,
        attempt: OpenAttempt,
        request: Outgoing,
        give_up_at: float,
        judge: Judge,
        content_type_ok: Callable[[str], bool],
    ) -> WriteResult:
        now = self.clock.monotonic()
        left, sendable = give_up_at - now, attempt.send_by_monotonic - now
        try:
            async with asyncio.timeout(left):
                reply = await self._exchange(self._sockets.writes, request, min(self._timeouts.connect, sendable))
        except TimeoutError:
            return await self._unanswered(request, AttemptOutcome.UNKNOWN, f"no complete answer in {left:.1f} s")
        except TooLargeError as problem:
            return await self._unanswered(request, AttemptOutcome.UNKNOWN, str(problem))
        except (httpx.HTTPError, OSError) as problem:
            outcome = AttemptOutcome.NOT_APPLIED if never_left(problem) else AttemptOutcome.UNKNOWN
            return await self._unanswered(request, outcome, failure_words(problem))
        self._slow_down(reply.status, limit_wait_seconds(reply.status, reply.headers, reply.at))
        result = classify(
            reply, judge, content_type_ok=content_type_ok, limited_before_execute=self._limited_before_execute
        )
        return await self._with_evidence(result, self._exchange_record(request, reply))

    async def _unanswered(self, request: Outgoing, outcome: AttemptOutcome, detail: str) -> WriteResult:
        exchange = self._exchange_record(request, None, detail)
        return await self._with_evidence(WriteResult(outcome, detail=detail), exchange)

    async def _with_evidence(self, result: WriteResult, exchange: Exchange) -> WriteResult:
        """The result with its evidence. If that cannot be stored the outcome is not lost: the detail says so."""
        if self._keep is not None:
            try:
                await self._keep(exchange)
            except (AllclearError, OSError) as problem:
                result = replace(
                    result, detail=f"{result.detail} (evidence not kept: {type(problem).__name__})".strip()
                )
        return replace(result, exchange=exchange)

    # ---- one exchange ----------------------------------------------------------------------------------------------

    async def _request(self, call: Call) -> Outgoing:
        given = self._headers
        if not isinstance(given, Mapping):
            given = sendable(await given(), self.system, self.account)
            self._forms = secret_forms((*self._given, *credential_values(given)))
        return build_request(self._base, call, given)

    async def _exchange(self, pool: Pool, request: Outgoing, connect_seconds: float) -> Reply:
        """One request and its whole reply from `pool`; httpx or OS errors pass."""
        answer = await pool.exchange(request, connect_seconds, self._timeouts.read)
        return Reply(
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            url=redact_url(request.url, self._forms),
            at=self.clock.now(),
            digest=hashlib.sha256(answer.body).hexdigest(),
        )

    def _exchange_record(self, request: Outgoing, reply: Reply | None, detail: str = "") -> Exchange:
        """What is kept of one exchange. `digest` is the SHA-256 of the reply's body.

        With no reply it is that of the kept request, reason and time, a line each: evidence is stored once for each
        digest, so a digest of nothing would show one unanswered write in the place of all others.
        """
        context = trace.get_current_span().get_span_context()
        line = kept_request(request.method, request.url, request.content, self._forms)
        if reply is not None:
            at, digest, body = reply.at, reply.digest, kept_body(reply.body, self._forms)
        else:
            at, body = self.clock.now(), f"[no reply: {redact_text(detail, self._forms)}]"
            digest = hashlib.sha256(f"{line}\n{body}\n{at.isoformat()}".encode("utf-8", "replace")).hexdigest()
        return Exchange(
            system=self.system,
            account=self.account,
            request=line,
            status=reply.status if reply else None,
            at=at,
            digest=digest,
            body=body,
            trace_ref=f"{context.trace_id:032x}" if context.is_valid else "",
        )

    def _span(self, call: Call) -> Any:
        return self._tracer.start_as_current_span(
            f"{self.system} {call.op}",
            kind=trace.SpanKind.CLIENT,
            attributes={
                "allclear.system": self.system,
                "allclear.account": self.account,
                "http.request.method": call.method,
            },
            record_exception=False,
            set_status_on_exception=False,
        )
