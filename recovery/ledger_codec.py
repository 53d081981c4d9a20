"""Plans and small values as JSON text and back, exactly: times to the microsecond in UTC, facts as they were."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from recovery.model import Plan, Question


@cache
def _plan_decoder() -> msgspec.json.Decoder[Plan]:
    return msgspec.json.Decoder(Plan)


def encode_plan(plan: Plan) -> str:
    """The plan as JSON; `decode_plan` of it equals the plan, digest included."""
    return msgspec.json.encode(plan).decode()


def decode_plan(body: str) -> Plan:
    """The plan that was encoded."""
    return _plan_decoder().decode(body)


def encode_question(question: Question | None) -> str | None:
    """A question as JSON, None as NULL."""
    return None if question is None else msgspec.json.encode(question).decode()


def decode_question(body: str | None) -> Question | None:
    """The question that was encoded."""
    return None if body is None else msgspec.json.decode(body, type=Question)


def encode_json(value: Any) -> str:
    """Plain data as JSON text."""
    return msgspec.json.encode(value).decode()


def decode_json(body: str) -> Any:
    """The plain data."""
    return msgspec.json.decode(body)
