"""Checkers of exchanges with vendors that publish a document (beside the repository; skipped where it is absent)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jsonschema
from contracts_desk import PENDO

from tests.sandbox.contract import Contract, vendor_document

AT = "https://twin.example"


class JiraContract:
    """Jira's document; two calls are not in the trimmed copy, and it has no word for the list of remote links."""

    def __init__(self) -> None:
        self._contract = Contract(vendor_document("jira"), AT, own_times=True)

    def check(self, reply: httpx.Response) -> None:
        path, method = reply.request.url.path, reply.request.method
        if path.endswith("/issuetypes"):
            jsonschema.validate(reply.json(), {"type": "object", "required": ["issueTypes", "total"]})
        elif "/properties/" in path:
            jsonschema.validate(reply.json(), {"type": "object", "required": ["key", "value"]})
        else:
            self._contract.check(reply, reply_too=not (method == "GET" and path.endswith("/remotelink")))


class PagerDutyContract:
    """Two documents on one address; `readOnly` is dropped because PagerDuty marks as read-only what it wants."""

    def __init__(self) -> None:
        rest = _without_read_only(vendor_document("pagerduty-rest"))
        # The schema calls an incident's details an object; the file's own examples, and the service, have a text.
        del rest["components"]["schemas"]["IncidentBody"]["properties"]["details"]["type"]
        self._rest = Contract(rest, AT, own_nulls=True)
        self._events = Contract(vendor_document("pagerduty-events-v2"), f"{AT}/v2")

    def check(self, reply: httpx.Response) -> None:
        events = reply.request.url.path.startswith("/v2/")
        (self._events if events else self._rest).check(reply)


def _without_read_only(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_read_only(v) for k, v in value.items() if not (k == "readOnly" and isinstance(v, bool))}
    return [_without_read_only(v) for v in value] if isinstance(value, list) else value


class SlackContract:
    """Slack's Swagger 2.0 file of 2020: it knows no metadata, and writes JSON arguments down as a form."""

    ADDED = frozenset({"metadata", "include_all_metadata"})

    def __init__(self) -> None:
        self._document = vendor_document("slack")

    def check(self, reply: httpx.Response) -> None:
        request = reply.request
        described = self._document["paths"][request.url.path.removeprefix("/api")][request.method.lower()]
        known = {p["name"]: p for p in described["parameters"]}
        given = json.loads(request.content) if request.content else dict(request.url.params)
        assert set(given) <= set(known) | self.ADDED, f"unknown arguments: {set(given) - set(known)}"
        assert {n for n, p in known.items() if p.get("required") and p["in"] != "header"} <= set(given)
        assert request.headers["authorization"].startswith("Bearer ")
        body = reply.json()
        answer = described["responses"]["200" if body["ok"] else "default"]["schema"]
        gone = {"channel_actions_ts", "channel_actions_count"}  # replies have not had these for years
        required = [name for name in answer.get("required", ()) if name not in gone]
        named = {**answer, "required": required, "definitions": self._document["definitions"]}
        jsonschema.Draft4Validator(named).validate(_without_metadata(body))


def _without_metadata(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_metadata(v) for k, v in value.items() if k != "metadata"}
    return [_without_metadata(v) for v in value] if isinstance(value, list) else value


class ClickUpContract:
    """ClickUp's document, as far as it goes.

    It has no word for the user behind a token, wants a Content-Type on requests without a body, has lists where the
    schema of a new task's reply belongs, and knows neither a text as a custom field's value nor tags as the service
    writes them.
    """

    def __init__(self) -> None:
        self._contract = Contract(vendor_document("clickup"), f"{AT}/api", own_nulls=True)

    def check(self, reply: httpx.Response) -> None:
        method, path = reply.request.method, reply.request.url.path
        if path.endswith("/user"):
            jsonschema.validate(reply.json(), {"type": "object", "required": ["user"]})
            return
        body = _without_details(reply.json())
        shown = httpx.Response(reply.status_code, json=body, request=reply.request)
        self._contract.check(shown, request_too=method != "GET", reply_too=method != "POST")


def _without_details(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_details(v) for k, v in value.items() if k not in ("custom_fields", "tags")}
    return [_without_details(v) for v in value] if isinstance(value, list) else value


class PendoContract:
    """Pendo's published paths, and the few fields that are known of their bodies."""

    def __init__(self) -> None:
        self._paths = Contract(vendor_document("pendo"), AT)

    def check(self, reply: httpx.Response) -> None:
        self._paths.check(reply, reply_too=False)
        PENDO.check(reply)
