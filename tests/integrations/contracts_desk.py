"""What each call to Zendesk and Pendo must look like; they publish no usable schema (`vendors.md` §5 and §6)."""

from __future__ import annotations

from contracts import BOOL, INT, TEXT, TIME, WORD, Own, Rule, closed, holding, listing

# ---- Zendesk ---------------------------------------------------------------------------------------------------------

COMMENT = closed({"body": WORD, "public": BOOL}, {"uploads": listing(WORD)})
METADATA = {"type": "object", "additionalProperties": TEXT}
PRIORITY = {"enum": ["urgent", "high", "normal", "low"]}
TAGS = listing({"type": "string", "pattern": r"^\S+$"})
USER = holding(id=INT, role={"enum": ["end-user", "agent", "admin"]})
TICKET = holding(
    id=INT,
    subject=TEXT,
    status={"enum": ["new", "open", "pending", "hold", "solved", "closed"]},
    external_id={"type": ["string", "null"]},
    priority={"enum": ["urgent", "high", "normal", "low", None]},
    requester_id=INT,
    created_at=TIME,
    updated_at=TIME,
    tags=listing(TEXT),
)
CURSORS = {"page[size]": r"[1-9]\d?|100", "page[after]": r"\S+"}
MORE = {"meta": holding(has_more=BOOL)}
REFUSAL = holding(error=TEXT)
MADE = holding(ticket=TICKET)
STAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
ZENDESK = Own(
    Rule(
        "POST",
        "/oauth/tokens",
        {200: holding(access_token=WORD, token_type={"const": "bearer"})},
        body=closed(
            {
                "client_id": WORD,
                "client_secret": WORD,
                "scope": WORD,
                "grant_type": {"enum": ["client_credentials", "refresh_token"]},
            },
            {"refresh_token": WORD},
        ),
    ),
    Rule("GET", "/api/v2/users/me", {200: holding(user=holding(id={"type": ["integer", "null"]}))}),
    Rule(
        "GET",
        "/api/v2/tickets",
        {200: holding(tickets=listing(TICKET), users=listing(USER), **MORE)},
        {"!external_id": ".+", "include": "users", **CURSORS},
    ),
    Rule("GET", r"/api/v2/tickets/\d+", {200: holding(ticket=TICKET), 404: REFUSAL}, {"include": "users"}),
    Rule(
        "GET",
        r"/api/v2/tickets/\d+/comments",
        {
            200: holding(
                comments=listing(holding(id=INT, body=TEXT, public=BOOL, author_id=INT, created_at=TIME)), **MORE
            )
        },
        {"include": "users", **CURSORS},
    ),
    Rule(
        "GET",
        r"/api/v2/tickets/\d+/audits",
        {200: holding(audits=listing(holding(id=INT, metadata=holding(custom={"type": "object"}))), **MORE)},
        CURSORS,
    ),
    Rule(
        "GET",
        r"/api/v2/job_statuses/\w+",
        {
            200: holding(
                job_status=holding(id=WORD, status={"enum": ["queued", "working", "failed", "completed", "killed"]})
            )
        },
    ),
    Rule(
        "GET",
        r"/api/v2/search",
        {200: holding(results=listing(TICKET), count=INT)},
        {"!query": "type:ticket .+", "per_page": r"[1-9]\d?|100"},
    ),
    Rule(
        "POST",
        "/api/v2/tickets",
        {201: MADE, 400: REFUSAL, 422: REFUSAL},
        body=closed(
            {
                "ticket": closed(
                    {
                        "external_id": WORD | {"maxLength": 255},
                        "subject": TEXT | {"maxLength": 255},
                        "comment": COMMENT,
                        "requester": closed({"name": WORD, "email": WORD}),
                        "priority": PRIORITY,
                        "tags": TAGS,
                        "metadata": METADATA,
                    }
                )
            }
        ),
    ),
    Rule(
        "PUT",
        r"/api/v2/tickets/\d+",
        {200: MADE, 409: REFUSAL},
        body=closed(
            {
                "ticket": closed(
                    {"comment": COMMENT, "metadata": METADATA, "safe_update": {"const": True}, "updated_stamp": STAMP}
                )
            }
        ),
    ),
    Rule(
        "PUT",
        "/api/v2/tickets/update_many",
        {200: holding(job_status=holding(id=WORD, status=WORD))},
        {"!ids": r"\d+(,\d+){0,99}"},
        body=closed(
            {
                "ticket": closed(
                    {"comment": COMMENT, "metadata": METADATA}, {"priority": PRIORITY, "additional_tags": TAGS}
                )
            }
        ),
    ),
    Rule("POST", "/api/v2/uploads", {201: holding(upload=holding(token=WORD))}, {"!filename": ".+"}),
)

# ---- Pendo (its published collection has no schemas) -----------------------------------------------------------------

GUIDE = holding(id=WORD, name=TEXT, state={"enum": ["public", "staged", "draft", "disabled"]})
PENDO = Own(
    Rule("GET", "/api/v1/token/verify", {200: {"type": "object"}}),
    Rule("GET", "/api/v1/guide", {200: listing(GUIDE)}, {"!id": ".+"}),
    Rule(
        "PUT",
        r"/api/v1/guide/[\w-]+/state",
        {200: None},
        body=closed({"state": {"enum": ["public", "staged", "draft", "disabled"]}}),
    ),
    Rule("PUT", r"/api/v1/guide/[\w-]+/segment", {200: None}, body=closed({"segmentId": WORD})),
)
