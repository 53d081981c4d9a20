"""Redaction: what may be kept of a request and a reply, and what never is.

Rows E.1 and E.5: the answer, its status, time and SHA-256 are kept; credentials, query-string keys, e-mail addresses
and phone numbers are not. An address becomes `[mail:<8 hex>]`, the start of its SHA-256, so that two records of one
person can still be told to be the same without naming anyone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit, urlunsplit

KEPT_BYTES = 64 * 1024
KEPT_REQUEST_CHARS = 4096
HIDDEN = "[redacted]"

_CREDENTIAL = (
    r"(?:api[_-]?(?:key|token)|access[_-]?token|refresh[_-]?token|id[_-]?token|auth|authorization|client[_-]?secret|"
    r"integration[_-]?key|key|pass(?:word|wd)?|routing[_-]?key|secret|session[_-]?(?:id|key)|sig(?:nature)?|token)"
)
_SECRET_KEY = re.compile(_CREDENTIAL, re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r'("(?:x[_-])?(?:' + _CREDENTIAL.replace("|key|", "|") + r')"\s*:\s*)"(?:[^"\\]|\\.)*"?', re.IGNORECASE
)
_PHONE_FIELD = re.compile(
    r'("(?:phone|mobile|msisdn|whatsapp|wa_id|recipient(?:_id)?|phone_?number)"\s*:\s*)"?\+?[\d ()./-]{6,}"?',
    re.IGNORECASE,
)
# The plus comes first, so that the search goes from plus to plus: looking back from every character costs thirty times.
_PHONE = re.compile(r"\+(?<![\w+-]\+)\d(?:[ ()./-]?\d){7,14}(?!\w)")
_SUSPECT_IN_URL = re.compile(rf"[@#\\]|%40|%23|(?:\+|%2B)\d|[?&](?:\w+%5B)?{_CREDENTIAL}", re.IGNORECASE)
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}(?:@|%40|\\u0040)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")


def mail_tag(address: str) -> str:
    """What stands for an e-mail address in evidence: the same for the same address, whatever its case."""
    return f"[mail:{hashlib.sha256(address.strip().lower().encode()).hexdigest()[:8]}]"


def secret_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Every spelling in which a secret could come back: plain, URL-escaped, JSON-escaped, Base64; longest first.

    Values under six characters are left out: they would blank out ordinary words, and no credential is that short.
    """
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) < 6:
            continue
        escaped = json.dumps(secret)[1:-1]
        forms |= {secret, quote(secret, safe=""), quote_plus(secret), escaped, escaped.replace("/", r"\/")}
        forms.add(base64.b64encode(secret.encode()).decode())
    return tuple(sorted(forms, key=len, reverse=True))


def redact_text(text: str, forms: tuple[str, ...] = ()) -> str:
    """The text without credentials, addresses and phone numbers. `forms` comes from `secret_forms`."""
    for form in forms:
        if form in text:
            text = text.replace(form, HIDDEN)
    text = _SECRET_FIELD.sub(rf'\1"{HIDDEN}"', text)
    text = _PHONE_FIELD.sub(rf'\1"{HIDDEN}"', text)
    if "@" in text or "%40" in text or r"\u0040" in text:
        text = _MAIL.sub(lambda found: mail_tag(found[0].replace("%40", "@").replace(r"\u0040", "@")), text)
    return _PHONE.sub(HIDDEN, text)


def redact_url(url: str, forms: tuple[str, ...] = ()) -> str:
    """The URL without user, password, fragment and the values of credential-like query keys."""
    if not _SUSPECT_IN_URL.search(url) and not any(form in url for form in forms):
        return url
    parts = urlsplit(url)
    host = parts.hostname or ""
    where = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        where += f":{parts.port}"
    query = [
        (name, HIDDEN if _SECRET_KEY.fullmatch(name) else redact_text(value, forms))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    path = redact_text(parts.path, forms)
    return urlunsplit((parts.scheme, where, path, urlencode(query, safe="[]:,"), ""))


def kept_body(body: bytes, forms: tuple[str, ...] = ()) -> str:
    """The body as evidence: text, redacted, at most 64 KB. The cut is made after redaction, never inside a secret."""
    text = body[: 2 * KEPT_BYTES].decode("utf-8", "replace")
    return redact_text(text, forms).encode()[:KEPT_BYTES].decode("utf-8", "ignore")


def kept_request(method: str, url: str, body: bytes, forms: tuple[str, ...] = ()) -> str:
    """One line of evidence for a request: method, URL and body, redacted, the body cut at 4,096 characters."""
    line = f"{method} {redact_url(url, forms)}"
    if not body:
        return line
    sent = redact_text(body[: 2 * KEPT_REQUEST_CHARS].decode("utf-8", "replace"), forms)
    return f"{line} {sent[:KEPT_REQUEST_CHARS]}"
