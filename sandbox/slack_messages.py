"""A pretend Slack workspace: channels and messages, and what Slack refuses in a message.

Facts: reference/vendors.md §2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.wire import Json

LONGEST_TEXT = 40000
MOST_BLOCKS = 50
TEXT_LIMITS = {"header": 150, "section": 3000}


@dataclass
class SlackKnobs:
    """`post_interval_seconds` above 0 makes a second message to one channel within it a 429 (Slack: about 1 s)."""

    post_interval_seconds: float = 0.0
    token_error: str = ""  # such as "account_inactive" or "token_revoked": what every call answers


@dataclass
class Channel:
    """One channel; messages oldest first, as Slack keeps them but for what only some calls show."""

    channel_id: str
    name: str
    member: bool = True
    archived: bool = False
    messages: list[Json] = field(default_factory=list)
    posted_at: datetime | None = None


class SlackState:
    """One workspace with one bot."""

    def __init__(self, token: str, *, team: str = "T0TWINTEAM", bot_user: str = "U0ALLCLEAR") -> None:
        self.token = token
        self.team = team
        self.bot_user = bot_user
        self.channels: dict[str, Channel] = {}
        self.knobs = SlackKnobs()
        self._last_ts = 0

    def add_channel(self, channel_id: str, name: str, *, member: bool = True, archived: bool = False) -> Channel:
        """Add a channel; without `member` the bot was never invited."""
        made = self.channels[channel_id] = Channel(channel_id, name, member, archived)
        return made

    def next_ts(self, now: datetime) -> str:
        """A message's ts: seconds with six decimals, never the same twice and never going back."""
        self._last_ts = max(int(now.timestamp() * 1_000_000), self._last_ts + 1)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"


class SlackError(Exception):
    """An answer with ok false and this error word."""


def _structure(given: Json, name: str, error: str) -> Any:
    """An argument that is a JSON value, or the same as text when it came in a form."""
    value = given.get(name)
    if isinstance(value, str) and value:
        try:
            return json.loads(value)
        except ValueError:
            raise SlackError(error) from None
    return value or None


def _checked_blocks(given: Json) -> list[Json]:
    blocks = _structure(given, "blocks", "invalid_blocks_format")
    if blocks is None:
        return []
    if not isinstance(blocks, list) or len(blocks) > MOST_BLOCKS:
        raise SlackError("invalid_blocks")
    for block in blocks:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise SlackError("invalid_blocks")
        text = block.get("text")
        words = text.get("text") if isinstance(text, dict) else ""
        if isinstance(text, dict) and (not words or len(words) > TEXT_LIMITS.get(block["type"], LONGEST_TEXT)):
            raise SlackError("invalid_blocks")
        if block["type"] == "header" and (not isinstance(text, dict) or text.get("type") != "plain_text"):
            raise SlackError("invalid_blocks")
    return blocks


def _checked_metadata(given: Json) -> Json | None:
    metadata = _structure(given, "metadata", "invalid_metadata_format")
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_type"), str):
        raise SlackError("invalid_metadata_format")
    if not isinstance(metadata.get("event_payload"), dict):
        raise SlackError("invalid_metadata_format")
    return metadata


def checked_content(given: Json) -> Json:
    """What of the arguments is the message. Raises SlackError with Slack's own word."""
    text, blocks = str(given.get("text") or ""), _checked_blocks(given)
    if not text and not blocks and not given.get("attachments"):
        raise SlackError("no_text")
    if len(text) > LONGEST_TEXT:
        raise SlackError("msg_too_long")
    content: Json = {"text": text}
    if blocks:
        content["blocks"] = blocks
    metadata = _checked_metadata(given)
    if metadata is not None:
        content["metadata"] = metadata
    return content
