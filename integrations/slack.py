"""Slack Web API: one message, once, as plain text.

Facts: vendors.md §2. Slack documents no idempotency key, so every message carries the action key in its metadata and is
looked for there before a repeat. Refusals come as HTTP 200 with `ok: false`. Text stands in `plain_text` blocks, where
nothing is parsed; the notification's fallback text is escaped and sent with mrkdwn, link names and unfurling off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from integrations.http import CapabilityManifest, Fields, Reply, Transport
from integrations.pages import CursorPage, read_by_cursor
from integrations.plaintext import plain
from recovery.errors import AuthFailed, NotFound, Refused, RemoteError, Unavailable
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult
from recovery.ports import ChatRef

EVENT_TYPE = "allclear"
BLOCK_LIMIT = 2_900  # a plain_text section takes 3,000 characters
MOST_BLOCKS = 45  # a message takes 50
FALLBACK_LIMIT = 3_000
PAGE = 200

_AUTH = {
    "not_authed",
    "invalid_auth",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "no_permission",
    "missing_scope",
}
_ABSENT = {"channel_not_found", "thread_not_found", "message_not_found"}
# Slack's own failures: the message may have been posted all the same.
_UNSURE = {"internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org"}
_THROTTLED = {"ratelimited", "rate_limited"}


class SlackClient:
    """Where colleagues are told: the `Chat`."""

    def __init__(self, transport: Transport, proven: CapabilityManifest | None = None) -> None:
        self._http = transport
        self._proven = proven or CapabilityManifest(transport.system)

    @staticmethod
    def credentials(token: str) -> dict[str, str]:
        """The header that signs every call."""
        return {"Authorization": f"Bearer {token}"}

    def manifest(self) -> CapabilityManifest:
        """What this workspace is proven to do."""
        return self._proven

    async def whoami(self) -> str:
        """The app's user and workspace; raises AuthFailed."""
        got = await self._call("auth.test", {})
        return f"{got.text('user', '')} in {got.text('team', '')}".strip()

    async def find(self, channel: str, marker: str, since: datetime) -> ChatRef | None:
        """Our message with this marker, by its metadata, in the channel or in a thread that we started there.

        A history that cannot be read to its end raises: absence would not be known.
        """
        oldest = f"{since.astimezone(UTC).timestamp():.6f}"
        query = {"channel": channel, "oldest": oldest, "inclusive": "true"}
        messages = await self._scan("conversations.history", query)
        for message in messages:
            if _key_of(message) == marker:
                return ChatRef(channel, message.ref("ts"))
        for parent in messages:
            if _key_of(parent) and parent.integer("reply_count", 0) > 0:
                replies = await self._scan("conversations.replies", {"channel": channel, "ts": parent.ref("ts")})
                for message in replies:
                    if _key_of(message) == marker:
                        return ChatRef(channel, message.ref("ts"))
        return None

    async def post(
        self, channel: str, text: str, lines: Sequence[str], marker: str, attempt: OpenAttempt, thread: str = ""
    ) -> WriteResult:
        """Post plain text (never markup); `ref` is the message's ts."""
        body: dict[str, Any] = {
            "channel": channel,
            "text": escaped(text),
            "blocks": blocks_of(text, lines),
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"key": marker}},
            "mrkdwn": False,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if thread:
            body["thread_ts"] = thread
        return await self._http.write(
            attempt, "chat.postMessage", "POST", "/chat.postMessage", json=body, judge=self._posted
        )

    def _posted(self, reply: Reply) -> WriteResult | None:
        got = self._http.fields("chat.postMessage", reply)
        if got.flag("ok"):
            return WriteResult(AttemptOutcome.APPLIED, ref=got.ref("ts"))
        error = got.text("error", "no reason given")
        if error in _UNSURE:
            return WriteResult(AttemptOutcome.UNKNOWN, detail=f"200 {error}")
        if error in _THROTTLED:
            limited = self._proven.limits_before_executing
            return WriteResult(AttemptOutcome.NOT_APPLIED if limited else AttemptOutcome.UNKNOWN, detail=f"200 {error}")
        return WriteResult(AttemptOutcome.REJECTED, detail=f"refused: {error}", auth_failed=error in _AUTH)

    async def _scan(self, method: str, query: Mapping[str, str]) -> list[Fields]:
        async def fetch(cursor: str) -> CursorPage[Fields]:
            params: dict[str, str | int] = {**query, "include_all_metadata": "true", "limit": PAGE}
            if cursor:
                params["cursor"] = cursor
            page = await self._call(method, params)
            following = page.maybe_record("response_metadata")
            return CursorPage(
                page.records("messages"), following.text("next_cursor", "") if following else "", page.digest
            )

        rows, _, problem = await read_by_cursor(fetch, max_pages=500)
        if problem:
            raise self._http.bad(method, problem)
        return rows

    async def _call(self, method: str, params: Mapping[str, str | int]) -> Fields:
        """A reading call; `ok: false` becomes the error it stands for."""
        got = await self._http.record(method, f"/{method}", params=dict(params))
        if got.flag("ok"):
            return got
        error = got.text("error", "no reason given")
        kind: type[RemoteError] = Refused
        if error in _AUTH:
            kind = AuthFailed
        elif error in _ABSENT:
            kind = NotFound
        elif error in _UNSURE | _THROTTLED:
            kind = Unavailable
        raise kind(self._http.system, self._http.account, f"{method}: {error}", _HINTS.get(error, ""))


_HINTS = {
    "channel_not_found": "check the channel id and invite the app to the channel",
    "not_in_channel": "invite the app to the channel",
    "missing_scope": "install the app again with chat:write and channels:history",
    "invalid_auth": "renew the bot token in the settings",
}


def escaped(text: str) -> str:
    """Fallback text as Slack wants it: one line, & < > as entities, so that no mention and no link can form."""
    line = plain(text, FALLBACK_LIMIT) or "-"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks_of(text: str, lines: Sequence[str]) -> list[dict[str, Any]]:
    """The message as sections of plain text, with a last line that says so when not everything fits."""
    sections = list(_sections([text, *lines]))
    if len(sections) > MOST_BLOCKS:
        sections = [*sections[:MOST_BLOCKS], "… the rest is in the run's report."]
    return [{"type": "section", "text": {"type": "plain_text", "text": s, "emoji": False}} for s in sections or ["-"]]


def _sections(lines: Sequence[str]) -> Iterator[str]:
    held = ""
    for line in (plain(raw, BLOCK_LIMIT) for raw in lines):
        if held and len(held) + len(line) + 1 > BLOCK_LIMIT:
            yield held
            held = ""
        held = f"{held}\n{line}" if held and line else held or line
    if held:
        yield held


def _key_of(message: Fields) -> str:
    metadata = message.maybe_record("metadata")
    if metadata is None or metadata.text("event_type", "") != EVENT_TYPE:
        return ""
    payload = metadata.maybe_record("event_payload")
    return payload.text("key", "") if payload else ""
