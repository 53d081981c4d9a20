"""What a request is made of, before it leaves: the call a client asks for, and headers that may stand in a request.

A request is put together here and not by httpx, whose URL and header objects cost more processor time than sending it
does. httpx still decides what a base URL is, and how a path is escaped that holds anything unusual.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

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


@dataclass(frozen=True, slots=True)
class Base:
    """Where a transport's requests go: what is the same for all of them. `text` has no trailing slash."""

    text: str
    secure: bool
    host: str
    port: int | None
    named: str
    path: str

    @classmethod
    def of(cls, base_url: str) -> Base:
        """The parts of a URL that `checked_base` accepted."""
        url = httpx.URL(base_url)
        path = url.raw_path.decode("ascii").rstrip("/")
        text = f"{url.scheme}://{url.netloc.decode('ascii')}{path}"
        return cls(
            text, url.scheme == "https", url.raw_host.decode("ascii"), url.port, url.netloc.decode("ascii"), path
        )


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request as it will leave. `fields` are its headers but for Host and Content-Length."""

    base: Base
    method: str
    target: str
    fields: Mapping[str, str]
    content: bytes
    url: str

    @property
    def sized(self) -> bool:
        """Whether the length of the body is stated, as every method that usually has one demands."""
        return bool(self.content) or self.method in ("POST", "PUT", "PATCH")

    def as_httpx(self, connect_seconds: float, silence_seconds: float) -> httpx.Request:
        """The same request for an httpx transport."""
        limits = {
            "connect": connect_seconds,
            "pool": connect_seconds,
            "read": silence_seconds,
            "write": silence_seconds,
        }
        content = self.content if self.sized else None
        extensions = {"timeout": limits}
        return httpx.Request(self.method, self.url, headers=self.fields, content=content, extensions=extensions)


# Characters that httpx leaves as they are in a path; with any other (or a "?"), httpx does the escaping.
_PLAIN_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


def build_request(base: Base, call: Call, credentials: Mapping[str, str]) -> Outgoing:
    """The request as it will leave; JSON in ASCII, so that even a lone surrogate can be sent; bytes as they are."""
    sent = {**SENT_BY_DEFAULT, **credentials, **(call.headers or {})}
    content = b""
    if call.json is not None:
        content = json.dumps(call.json, separators=(",", ":"), allow_nan=False).encode("ascii")
        sent.setdefault("Content-Type", "application/json")
    elif isinstance(call.data, bytes):
        content = call.data
    elif call.data is not None:
        content = urlencode(call.data).encode("ascii")
        sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
    query = ""
    if call.params:
        pairs = call.params.items() if isinstance(call.params, Mapping) else call.params
        query = str(httpx.QueryParams(list(pairs)))
    if _PLAIN_PATH.fullmatch(call.path):
        path = base.path + call.path
        target = f"{path}?{query}" if query else path
        url = base.text + target[len(base.path) :]
    else:
        parsed = httpx.URL(base.text + call.path, params=query or None) if query else httpx.URL(base.text + call.path)
        target, url = parsed.raw_path.decode("ascii"), str(parsed)
    return Outgoing(base, call.method, target, sent, content, url)


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
