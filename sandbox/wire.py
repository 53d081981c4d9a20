"""What several twins do alike with a request: read its credentials, its JSON body and its numbers."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Any

from starlette.requests import Request

Json = dict[str, Any]


class RefusedError(Exception):
    """A request the twin will not serve; each twin words it in its vendor's own shape.

    `facts` is whatever else that shape needs, such as the vendor's own error code.
    """

    def __init__(self, status: int, message: str, detail: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail
        self.facts = facts


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, without telling by time how much of them is."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def token_after(scheme: str, request: Request) -> str | None:
    """What the Authorization header says after this scheme's name (any case); None when absent or another scheme."""
    given, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if given.lower() == scheme.lower() and value.strip() else None


def basic_text(value: str) -> str | None:
    """The decoded text of a Basic credential, None when it is not base64 of UTF-8."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


async def body_object(request: Request) -> Json | None:
    """The request's JSON object, None when the body is not one; an empty body is an empty object."""
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def whole_number(text: str | None, default: int) -> int | None:
    """The whole number a query parameter names, the default when it is absent, None when it is no number."""
    if text is None or text == "":
        return default
    try:
        return int(text)
    except ValueError:
        return None


def flag(text: str | None) -> bool:
    """Whether a query or form parameter says yes."""
    return (text or "").strip().lower() in {"true", "1", "yes"}
