"""What each call and its reply must look like, for the vendors that publish no usable specification.

Written from `prospect2-tessitura.md` §2 and §3, `requirements-origins.md` §1 and `vendors.md` §2 and §5. A request may
carry nothing that is not named here; a reply may carry more, as the vendors' do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import httpx
import jsonschema

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WORD: Schema = {"type": "string", "minLength": 1}
NUMBER: Schema = {"type": "string", "pattern": r"^\d+$"}  # ActiveCampaign sends numbers as text
ID: Schema = {"type": ["string", "integer"], "pattern": r"^\d+$"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)$"}
MAYBE_TIME: Schema = {"anyOf": [TIME, {"type": "null"}]}
BOOL: Schema = {"type": "boolean"}
INT: Schema = {"type": "integer"}


def closed(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object of exactly these members: a request of ours."""
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": False,
    }


def holding(**required: Schema) -> Schema:
    """An object with at least these members: a vendor's reply."""
    return {"type": "object", "required": list(required), "properties": required}


def listing(item: Schema) -> Schema:
    return {"type": "array", "items": item}


@dataclass(frozen=True)
class Rule:
    """One call: `query` maps names to patterns; a name that begins with "!" must be there."""

    method: str
    path: str
    replies: dict[int, Schema | None]
    query: dict[str, str] = field(default_factory=dict)
    body: Schema | None = None


class Own:
    """A contract of rules; `check` raises for what no rule allows."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules

    def check(self, reply: httpx.Response) -> None:
        rule = self.check_request(reply.request)
        assert reply.status_code in rule.replies, f"{reply.status_code} is no reply to {rule.path}: {reply.text[:200]}"
        schema = rule.replies[reply.status_code]
        if schema is not None:
            jsonschema.validate(reply.json(), schema)

    def check_request(self, request: httpx.Request) -> Rule:
        rule = self._rule(request)
        _check_query(dict(request.url.params.multi_items()), rule.query)
        if rule.body is None:
            assert not request.content or "uploads" in rule.path, "a body where none belongs"
        else:
            assert request.headers["content-type"] == "application/json"
            jsonschema.validate(json.loads(request.content), rule.body)
        return rule

    def _rule(self, request: httpx.Request) -> Rule:
        action = request.url.params.get("api_action", "")
        for rule in self._rules:
            wanted = rule.query.get("!api_action", "")
            if rule.method == request.method and re.fullmatch(rule.path, request.url.path) and wanted == action:
                return rule
        raise AssertionError(f"no such call: {request.method} {request.url.path} {action}")


def _check_query(given: dict[str, str], allowed: dict[str, str]) -> None:
    patterns = {name.removeprefix("!"): pattern for name, pattern in allowed.items()}
    for name, value in given.items():
        assert name in patterns, f"no such parameter: {name}"
        assert re.fullmatch(patterns[name], value), f"{name}={value}"
    missing = {name[1:] for name in allowed if name.startswith("!")} - set(given)
    assert not missing, f"missing: {missing}"


# ---- Pro2 (ActiveCampaign v3 and v1) ---------------------------------------------------------------------------------

META = {"meta": holding(total=NUMBER)}
CAMPAIGN = holding(
    id=NUMBER,
    name=TEXT,
    type={"enum": ["single", "recurring", "split", "responder", "reminder", "activerss", "text", "special"]},
    status=NUMBER,
    sdate=MAYBE_TIME,
    ldate=MAYBE_TIME,
    cdate=TIME,
    scheduleddate={"type": ["string", "null"]},
    send_amt=NUMBER,
    total_amt=NUMBER,
    seriesid=NUMBER,
    segmentid=NUMBER,
    source=TEXT,
    links={"type": "object"},
)
PAGED = {"!limit": r"[1-9]\d?|100", "offset": r"\d+"}
ERRORS = {
    "anyOf": [holding(errors=listing({"anyOf": [TEXT, {"type": "object"}]})), holding(message=TEXT), TEXT],
}
NOT_FOUND = {404: holding(message=TEXT)}
V1 = r"/harbor/admin/api\.php"
V1_REPLY = holding(result_code={"enum": [0, 1, "0", "1"]}, result_message=TEXT, result_output={"const": "json"})
V1_QUERY = {"!api_output": "json"}
HERE = r"/harbor/api/3"
PRO2 = Own(
    Rule("GET", f"{HERE}/users/me", {200: holding(user=holding(id=NUMBER, username=TEXT, email=TEXT))}),
    Rule(
        "GET",
        f"{HERE}/campaigns",
        {200: holding(campaigns=listing(CAMPAIGN), **META)},
        PAGED | {"orders[id]": "ASC|DESC"},
    ),
    Rule("GET", rf"{HERE}/campaigns/\d+", {200: holding(campaign=CAMPAIGN), **NOT_FOUND}),
    Rule(
        "GET",
        rf"{HERE}/campaigns/\d+/campaignMessages",
        {200: holding(campaignMessages=listing(holding(messageid=NUMBER, campaignid=NUMBER)), **META)},
        PAGED,
    ),
    Rule(
        "GET",
        rf"{HERE}/campaigns/\d+/campaignLists",
        {200: holding(campaignLists=listing(holding(listid=NUMBER, campaignid=NUMBER)), **META)},
        PAGED,
    ),
    Rule(
        "GET",
        rf"{HERE}/messages/\d+",
        {200: holding(message=holding(id=NUMBER, subject=TEXT, fromname=TEXT, fromemail=TEXT, html=TEXT, text=TEXT))},
    ),
    Rule(
        "POST",
        rf"{HERE}/campaigns/\d+/copy",
        {
            200: holding(succeeded={"enum": [0, 1]}, message=TEXT, newCampaignId={"type": "integer"}),
            400: TEXT,
            **NOT_FOUND,
        },
    ),
    Rule(
        "PUT", rf"{HERE}/campaigns/\d+/edit", {200: None, 400: ERRORS}, body=closed({"name": WORD | {"maxLength": 255}})
    ),
    Rule("DELETE", rf"{HERE}/campaigns/\d+", {200: holding(succeeded={"enum": [0, 1]})}),
    Rule(
        "GET",
        f"{HERE}/tags",
        {200: holding(tags=listing(holding(id=NUMBER, tag=TEXT)), **META)},
        PAGED | {"search": ".+"},
    ),
    Rule(
        "POST",
        f"{HERE}/tags",
        {201: holding(tag=holding(id=ID, tag=TEXT)), 422: ERRORS},
        body=closed({"tag": closed({"tag": WORD, "tagType": {"const": "contact"}, "description": TEXT})}),
    ),
    Rule(
        "POST",
        f"{HERE}/contactTags",
        {201: holding(contactTag=holding(id=ID, contact=ID, tag=ID)), 404: ERRORS, 422: ERRORS},
        body=closed({"contactTag": closed({"contact": NUMBER, "tag": NUMBER})}),
    ),
    Rule("DELETE", rf"{HERE}/contactTags/\d+", {200: {"const": {}}, **NOT_FOUND}),
    Rule(
        "GET",
        f"{HERE}/contacts",
        {200: holding(contacts=listing(holding(id=NUMBER, email=TEXT)), **META)},
        {
            "!limit": r"[1-9]\d?|100",
            "offset": r"\d+",
            "tagid": r"\d+",
            "listid": r"\d+",
            "segmentid": r"\d+",
            "status": r"-1|[0-3]",
            "id_greater": r"\d+",
            "orders[id]": "ASC",
        },
    ),
    Rule(
        "GET",
        rf"{HERE}/contacts/\d+/contactTags",
        {200: holding(contactTags=listing(holding(id=NUMBER, contact=NUMBER, tag=NUMBER)), **META)},
        PAGED,
    ),
    Rule(
        "GET",
        f"{HERE}/automations",
        {200: holding(automations=listing(holding(id=NUMBER, name=TEXT, status={"enum": ["1", "2"]})), **META)},
        PAGED | {"orders[id]": "ASC"},
    ),
    Rule(
        "GET",
        V1,
        {200: V1_REPLY},
        V1_QUERY
        | {
            "!api_action": "campaign_status",
            "!id": r"\d+",
            "!status": "1|4",
            "sdate": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        },
    ),
    Rule(
        "GET",
        V1,
        {200: V1_REPLY},
        V1_QUERY | {"!api_action": "campaign_report_totals", "!campaignid": r"\d+"},
    ),
)

# ---- Tessitura -------------------------------------------------------------------------------------------------------

LIST = holding(
    Id=INT,
    Description=TEXT,
    ConstituentCount=INT,
    IsDynamic=BOOL,
    Inactive=BOOL,
    LastUsedDateTime={"type": ["string", "null"]},
)
MESSAGES = listing(holding(Code=TEXT, Description=TEXT))
REPORTING = r"/harbor/Reporting/Lists"
TESSITURA = Own(
    Rule(
        "GET",
        "/harbor/Diagnostics/Status",
        {200: holding(Success=BOOL, TimeStamp=TEXT, Dependencies=listing(holding(Success=BOOL, Name=TEXT)))},
    ),
    Rule("GET", rf"{REPORTING}/\d+", {200: LIST, 404: MESSAGES}),
    Rule(
        "POST",
        f"{REPORTING}/Search",
        {200: listing(LIST)},
        body=closed(
            {
                "MyListsOnly": BOOL,
                "ShowEmpty": BOOL,
                "SearchText": TEXT,
                "Page": INT | {"minimum": 1},
                "PageSize": INT | {"minimum": 1},
            }
        ),
    ),
    Rule("GET", rf"{REPORTING}/\d+/Contents", {200: listing(holding(ConstituentId=INT)), 403: MESSAGES}),
    Rule(
        "POST",
        rf"{REPORTING}/\d+/Results",
        {200: listing({"type": "object"})},
        body=closed({"Page": INT | {"minimum": 1}, "PageSize": INT, "DisableListGenerate": {"const": True}}),
    ),
    Rule(
        "GET",
        "/harbor/CRM/ElectronicAddresses",
        {
            200: listing(
                holding(
                    Id=INT,
                    Address=TEXT,
                    PrimaryIndicator=BOOL,
                    Inactive=BOOL,
                    Constituent=holding(Id=INT),
                    ElectronicAddressType=holding(Id=INT),
                )
            )
        },
        {
            "!constituentIds": r"\d+(,\d+){0,99}",
            "!primaryOnly": "true|false",
            "includeAffiliations": "false",
            "electronicAddressTypeId": r"\d+",
        },
    ),
)

# ---- WhatsApp panels -------------------------------------------------------------------------------------------------

COMPONENT = holding(type={"enum": ["HEADER", "BODY", "FOOTER", "BUTTONS", "CAROUSEL"]})
TEMPLATE = holding(id=WORD, name=WORD, language=WORD, status=WORD, components=listing(COMPONENT))
NETCORE = Own(
    Rule(
        "GET",
        "/metainfo/template/list",
        {200: holding(status=TEXT, data={"type": ["object", "array"]})},
        {
            "!limit": r"\d+",
            "!offset": r"\d+",
            "status": "Approved|Pending|Rejected|Paused|Disabled",
            "language": r"\w+",
            "template_type": "1,2",
        },
    )
)
META_ERROR = holding(error=holding(message=TEXT, type=TEXT, code=INT))
UNIX = r"1\d{9}"
META_PANEL = Own(
    Rule(
        "GET",
        r"/\d+",
        {200: holding(id=WORD), 401: META_ERROR},
        {"!fields": r"id,name,is_enabled_for_insights"},
    ),
    Rule(
        "GET",
        r"/\d+/message_templates",
        {200: holding(data=listing(TEMPLATE), paging={"type": "object"})},
        {"!name": ".+", "!fields": r"[a-z_,]+", "limit": r"\d+", "after": r"\S+"},
    ),
    Rule(
        "GET",
        r"/\d+/template_analytics",
        {200: holding(data=listing(holding(data_points=listing(holding(start=INT, end=INT)))))},
        {
            "!start": UNIX,
            "!end": UNIX,
            "!granularity": "DAILY",
            "!template_ids": r'\["\d+"(, "\d+"){0,9}\]',
            "metric_types": r'\["SENT","DELIVERED","CLICKED"\]',
            "after": r"\S+",
        },
    ),
)
