"""What a request is made of, before it leaves: the call a client asks for, and headers that may stand in a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from recovery.errors import ConfigError

SENT_BY_DEFAULT = {"Accept": "application/json", "User-Agent": "allclear", "Accept-Encoding": "gzip, deflate"}
CREDENTIAL_HEADERS = ("authorization", "api-token", "x-pendo-integration-key", "x-api-key", "x-routing-key")

Params: TypeAlias = Mapping[str, str | int] | Sequence[tuple[str, str | int]]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a client asked for it; `path` is below the base URL."""

    op: str
    method: str
    path: str
    params: Params | None
    json: Any
    data: Mapping[str, str] | bytes | None
    headers: Mapping[str, str] | None

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or self.path.startswith("//") or {".", ".."} & set(self.path.split("/")):
            raise ValueError(f"not a path below the base URL: {self.path[:80]!r}")


def build_request(base_url: str, call: Call, credentials: Mapping[str, str]) -> httpx.Request:
    """The request as it will leave; JSON in ASCII, so that even a lone surrogate can be sent; bytes as they are."""
    sent = {**SENT_BY_DEFAULT, **credentials, **(call.headers or {})}
    content: bytes | None = None
    if call.json is not None:
        content = json.dumps(call.json, separators=(",", ":"), allow_nan=False).encode("ascii")
        sent.setdefault("Content-Type", "application/json")
    if isinstance(call.data, bytes):
        content = call.data
    form = call.data if isinstance(call.data, Mapping) else None
    query = None
    if call.params:
        pairs = call.params.items() if isinstance(call.params, Mapping) else call.params
        query = httpx.QueryParams(list(pairs))
    return httpx.Request(call.method, base_url + call.path, params=query, headers=sent, content=content, data=form)


def sendable(headers: Mapping[str, str], system: str, account: str) -> Mapping[str, str]:
    """The headers, if they can stand in a request; `ConfigError` for a credential with a line end or beyond ASCII."""
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            who = f"{system} of {account}" if account else system
            raise ConfigError(f"the {name} of {who} holds a character that no header may hold", "copy it again")
    return headers


def credential_values(headers: Mapping[str, str]) -> list[str]:
    """The values of credential headers and their words, to be kept out of everything that is shown."""
    values = [value for name, value in headers.items() if name.lower() in CREDENTIAL_HEADERS]
    return values + [word for value in values for word in value.split() if len(word) > 8]
