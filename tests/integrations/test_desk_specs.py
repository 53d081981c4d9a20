"""Every request that the desk clients make is one that the vendor's own specification accepts.

The specifications are trimmed copies outside the repository. Zendesk publishes no usable one: see `contracts_desk`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from contracts_desk import ZENDESK
from desk_remotes import KEY, MARKER, ROUTING_KEY, WRITES, Write
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import Headers, ImmutableMultiDict

SPECS = Path(__file__).parents[3] / "shared" / "specs"
SERVERS = {
    "api.clickup.com": "clickup",
    "api.pagerduty.com": "pagerduty-rest",
    "events.pagerduty.com": "pagerduty-events-v2",
    "api.statuspage.io": "statuspage",
    "app.pendo.io": "pendo",
}
HOSTILE = (
    "@here <!channel> <@U123> @[Ann](user:1)",
    "[click](javascript:alert(1)) https://evil.example/?a=b",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '=HYPERLINK("http://evil.example") +1 -1 @SUM(A1)',
    "\u202egnp.exe \u2066isolated\u2069 \u200b\ufeff",
    "\x00\x01\x1b[31m\x7f\u0085\u2028\r\nBcc: x@evil.example",
    '"}],"admin":true,"x":[{"',
    "{{ 7*7 }} {% raw %} ${jndi:ldap://x} %s %n",
    "\ud800 lone surrogate",
    "\ufb00\uff11\uff1d\uff20\uff45 😀 مرحبا שלום",
    "long " + "x" * 65_536,
)
EXTRA_READS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "zendesk.find": ("zendesk.create", lambda c: c.find(MARKER)),
    "zendesk.comments": ("zendesk.create", lambda c: c.ticket("7")),
    "pagerduty.find": ("pagerduty.trigger", lambda c: c.find(KEY)),
    "pagerduty.whoami": ("pagerduty.trigger", lambda c: c.whoami()),
    "clickup.find": ("clickup.create", lambda c: c.find("123", MARKER)),
    "clickup.task": ("clickup.create", lambda c: c.task("9hx")),
    "pendo.guide": ("pendo.set_segment", lambda c: c.guide_state("g1")),
    "pendo.whoami": ("pendo.set_segment", lambda c: c.whoami()),
    "statuspage.find": ("statuspage.create", lambda c: c.find(MARKER)),
    "statuspage.incident": ("statuspage.create", lambda c: c.incident("p31zjtct2jer")),
    "statuspage.whoami": ("statuspage.create", lambda c: c.whoami()),
}
# The user behind a ClickUp token is not in the trimmed specification.
NOT_IN_SPEC = {("api.clickup.com", "/api/v2/user")}

NOTHING_REQUIRED = {"clickup.update", "pendo.set_guide_state", "pendo.set_segment", "statuspage.update"}


class SentRequest:
    """A request of ours as openapi-core wants to see it."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        query = ImmutableMultiDict(list(request.url.params.multi_items()))
        self.parameters = RequestParameters(query=query, header=Headers(list(request.headers.items())))

    @property
    def host_url(self) -> str:
        return f"{self._request.url.scheme}://{self._request.url.host}"

    @property
    def path(self) -> str:
        return self._request.url.path

    @property
    def method(self) -> str:
        return self._request.method.lower()

    @property
    def body(self) -> bytes | None:
        return self._request.content or None

    @property
    def content_type(self) -> str:
        return self._request.headers.get("content-type", "")


def without_read_only(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_read_only(v) for k, v in value.items() if not (k == "readOnly" and isinstance(v, bool))}
    return [without_read_only(v) for v in value] if isinstance(value, list) else value


@functools.cache
def spec(name: str) -> OpenAPI:
    path = SPECS / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the vendor specifications are not beside the repository ({path.name})")
    content = without_read_only(json.loads(path.read_text()))
    if name == "pagerduty-rest":
        # The schema calls an incident's details an object; the file's own examples, and the service, have a text.
        del content["components"]["schemas"]["IncidentBody"]["properties"]["details"]["type"]
    # Strict checking is off because most vendors' files break the standard; PagerDuty marks as read-only what it wants.
    return OpenAPI.from_dict(content, config=Config(spec_validator_cls=None))


def check(request: httpx.Request) -> None:
    host, path = request.url.host, request.url.path
    if (host, path) in NOT_IN_SPEC:
        return
    if host == "x.zendesk.com":
        ZENDESK.check_request(request)
        return
    spec(SERVERS[host]).validate_request(SentRequest(request))


def checked(write: Write, log: list[httpx.Request]) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        log.append(request)
        return write.remote(request)

    return answer


def told(log: list[httpx.Request]) -> httpx.Request:
    """The first request that tells something: no read, no file."""
    return next(r for r in log if r.method != "GET" and not r.url.path.endswith("/uploads"))


def strings_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings_of(item)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_the_requests_of_a_write_fit_the_vendors_specification(bench: Callable[..., Any], write: Write) -> None:
    log: list[httpx.Request] = []
    client, one = write.client(bench, checked(write, log))
    await write.call(client, one.attempt(), "Mail did not go out")
    assert log
    for request in log:
        check(request)


@pytest.mark.parametrize("name", EXTRA_READS)
async def test_the_requests_of_a_read_fit_the_vendors_specification(bench: Callable[..., Any], name: str) -> None:
    write, call = WRITES[EXTRA_READS[name][0]], EXTRA_READS[name][1]
    log: list[httpx.Request] = []
    client, _ = write.client(bench, checked(write, log))
    await call(client)
    assert log
    for request in log:
        check(request)


@pytest.mark.parametrize("name", [name for name in WRITES if name not in NOTHING_REQUIRED])
async def test_a_broken_request_would_be_noticed(bench: Callable[..., Any], name: str) -> None:
    """The check itself works: an empty body is refused wherever the vendor requires a field."""
    write = WRITES[name]
    log: list[httpx.Request] = []
    client, one = write.client(bench, checked(write, log))
    await write.call(client, one.attempt(), "text")
    request = told(log)
    with pytest.raises((OpenAPIError, jsonschema.ValidationError, AssertionError)):
        check(httpx.Request(request.method, request.url, headers=request.headers, json={"incident": {}}))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("name", [n for n in WRITES if not n.startswith("pendo")])
async def test_hostile_text_travels_as_one_string_and_changes_nothing_else(
    bench: Callable[..., Any], name: str, text: str
) -> None:
    write, shapes = WRITES[name], []
    for words in (text, "plain"):
        log: list[httpx.Request] = []
        client, one = write.client(bench, checked(write, log))
        await write.call(client, one.attempt(), words)
        for request in log:
            if "\ud800" not in words:
                check(request)
        request = told(log)
        body = json.loads(request.content)
        shapes.append((request.url.path, sorted(request.headers), len(list(strings_of(body)))))
        assert not [word for word in ("html_body", "markdown_content", "html_message") if word in str(body.keys())]
    assert shapes[0] == shapes[1]


TITLES = {
    "zendesk.create": ("ticket", "subject"),
    "pagerduty.trigger": ("payload", "summary"),
    "clickup.create": ("name",),
}


@pytest.mark.parametrize("name", TITLES)
async def test_a_title_is_one_line_without_control_characters_and_direction_overrides(
    bench: Callable[..., Any], name: str
) -> None:
    write = WRITES[name]
    log: list[httpx.Request] = []
    client, one = write.client(bench, checked(write, log))
    await write.call(client, one.attempt(), "a\r\nb\x00\x1b[31m\u202egnp.exe\u2066\u2028c \ud800 <b> @here")
    value = json.loads(told(log).content)
    for part in TITLES[name]:
        value = value[part]
    assert value == "a b [31mgnp.exe c <b> @here"


async def test_no_secret_stands_in_a_url(bench: Callable[..., Any]) -> None:
    for write in WRITES.values():
        log: list[httpx.Request] = []
        client, one = write.client(bench, checked(write, log))
        await write.call(client, one.attempt(), "text")
        assert not [r.url for r in log if "canary" in str(r.url) or ROUTING_KEY in str(r.url)]
