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

    With `own_times` the vendor's times need not be RFC 3339, as its document says and its service does not; with
    `own_nulls` a null counts as absent, because the document's examples have nulls that its schemas forbid.
    """

    def __init__(
        self, document: dict[str, Any], server: str, *, own_times: bool = False, own_nulls: bool = False
    ) -> None:
        self._server = server
        self._own_nulls = own_nulls
        document = {**document, "servers": [{"url": server}]}
        readers = {"application/problem+json": json.loads}
        formats = {"date-time": lambda text: isinstance(text, str)} if own_times else None
        config = Config(
            spec_validator_cls=None, extra_media_type_deserializers=readers, extra_format_validators=formats
        )
        self._api = OpenAPI.from_dict(document, config=config)

    def check(self, reply: httpx.Response, *, request_too: bool = True, reply_too: bool = True) -> None:
        """Raise when the reply (and its request) is not what the document allows."""
        request = self._request(reply.request)
        if request_too:
            self._api.validate_request(request)
        if not reply_too:
            return
        kind = reply.headers.get("content-type", "").split(";")[0]
        body = json.dumps(_without_nulls(reply.json())).encode() if self._own_nulls else reply.content
        self._api.validate_response(request, _Response(reply.status_code, reply.headers, kind, body))

    def _request(self, request: httpx.Request) -> _Request:
        server = urlsplit(self._server)
        parameters = RequestParameters(
            query=ImmutableMultiDict(list(request.url.params.multi_items())), header=Headers(dict(request.headers))
        )
        return _Request(
            f"{server.scheme}://{server.netloc}",
            request.url.path,
            request.method.lower(),
            request.content or None,
            request.headers.get("content-type", "").split(";")[0],
            parameters,
        )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def vendor_document(name: str) -> dict[str, Any]:
    """A vendor's document from beside the repository; skips the test where it is absent."""
    path = SHARED / "specs" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the vendor's document {path} is not on this machine")
    # Statuspage's document says "Object" in places, which is no JSON Schema type.
    return json.loads(path.read_text().replace('"type": "Object"', '"type": "object"'))


def bridge_document() -> dict[str, Any]:
    """The dashboard bridge's contract: the project's own copy, or the shared one."""
    for path in (
        ROOT / "integrations" / "dashboard.openapi.yaml",
        SHARED / "contracts" / "dashboard.openapi.yaml",
    ):
        if path.exists():
            return yaml.safe_load(path.read_text())
    pytest.skip("the bridge's contract is not on this machine")
