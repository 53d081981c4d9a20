"""Checks a twin's requests and replies against a vendor's own OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


@dataclass
class _Request:
    host_url: str
    path: str
    method: str
    body: bytes | None
    content_type: str
    parameters: RequestParameters


@dataclass
class _Response:
    status_code: int
    headers: Mapping[str, str]
    content_type: str
    data: bytes


class Contract:
    """One OpenAPI document, read as if its paths began at `server`.

    With `own_times` the vendor's times need not be RFC 3339, as its document says and its service does not.
    """

    def __init__(self, document: dict[str, Any], server: str, *, own_times: bool = False) -> None:
        self._server = server
        document = {**document, "servers": [{"url": server}]}
        readers = {"application/problem+json": json.loads}
        formats = {"date-time": lambda text: isinstance(text, str)} if own_times else None
        config = Config(
            spec_validator_cls=None, extra_media_type_deserializers=readers, extra_format_validators=formats
        )
        self._api = OpenAPI.from_dict(document, config=config)

    def check(self, reply: httpx.Response, *, strip: str = "", request_too: bool = True) -> None:
        """Raise when the reply (and its request) is not what the document allows; `strip` is a prefix of our own."""
        request = self._request(reply.request, strip)
        if request_too:
            self._api.validate_request(request)
        kind = reply.headers.get("content-type", "").split(";")[0]
        self._api.validate_response(request, _Response(reply.status_code, reply.headers, kind, reply.content))

    def _request(self, request: httpx.Request, strip: str) -> _Request:
        server = urlsplit(self._server)
        parameters = RequestParameters(
            query=ImmutableMultiDict(list(request.url.params.multi_items())), header=Headers(dict(request.headers))
        )
        return _Request(
            f"{server.scheme}://{server.netloc}",
            server.path + request.url.path.removeprefix(strip),
            request.method.lower(),
            request.content or None,
            request.headers.get("content-type", "").split(";")[0],
            parameters,
        )


def vendor_document(name: str) -> dict[str, Any]:
    """A vendor's document from beside the repository; skips the test where it is absent."""
    path = SHARED / "specs" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the vendor's document {path} is not on this machine")
    return json.loads(path.read_text())


def bridge_document() -> dict[str, Any]:
    """The dashboard bridge's contract: the project's own copy, or the shared one."""
    for path in (
        ROOT / "integrations" / "dashboard.openapi.yaml",
        SHARED / "contracts" / "dashboard.openapi.yaml",
    ):
        if path.exists():
            return yaml.safe_load(path.read_text())
    pytest.skip("the bridge's contract is not on this machine")
