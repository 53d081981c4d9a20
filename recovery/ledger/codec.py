"""Plans and small values as JSON text and back, exactly: times to the microsecond in UTC, facts as they were."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import msgspec

from recovery.model import Plan, Question

_BUILDING = threading.Lock()
"""Readers are threads, and two that make msgspec look into one class at the same moment end the process (SIGSEGV)."""


@cache
def _build() -> tuple[msgspec.json.Decoder[Plan], msgspec.json.Decoder[Question]]:
    return msgspec.json.Decoder(Plan), msgspec.json.Decoder(Question)


def _decoders() -> tuple[msgspec.json.Decoder[Plan], msgspec.json.Decoder[Question]]:
    with _BUILDING:
        return _build()


def encode_plan(plan: Plan) -> str:
    """The plan as JSON; `decode_plan` of it equals the plan, digest included."""
    return msgspec.json.encode(plan).decode()


def decode_plan(body: str) -> Plan:
    """The plan that was encoded."""
    return _decoders()[0].decode(body)


def encode_question(question: Question | None) -> str | None:
    """A question as JSON, None as NULL."""
    return None if question is None else msgspec.json.encode(question).decode()


def decode_question(body: str | None) -> Question | None:
    """The question that was encoded."""
    return None if body is None else _decoders()[1].decode(body)


def encode_json(value: Any) -> str:
    """Plain data as JSON text."""
    return msgspec.json.encode(value).decode()


def decode_json(body: str) -> Any:
    """The plain data."""
    return msgspec.json.decode(body)
