"""Redaction: no credential, address or number survives, and everything else does."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.evidence import kept_body, mail_tag, redact_text, redact_url, secret_forms

SECRET = 'pa"ss/w\\örd+1'


@pytest.mark.requirement("E.5")
@pytest.mark.parametrize(
    "spelled",
    [SECRET, quote(SECRET, safe=""), json.dumps(SECRET)[1:-1], base64.b64encode(SECRET.encode()).decode()],
)
def test_a_secret_is_found_in_every_spelling(spelled: str) -> None:
    assert spelled not in redact_text(f"before {spelled} after", secret_forms([SECRET]))


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ('{"api_key": "abc", "a": 1}', '{"api_key": "[redacted]", "a": 1}'),
        ('{"access_token":"x\\"y","id":"7"}', '{"access_token":"[redacted]","id":"7"}'),
        ('{"Password" : "x"}', '{"Password" : "[redacted]"}'),
        ('{"token": "cut off', '{"token": "[redacted]"'),
        ('{"key": "INC-1"}', '{"key": "INC-1"}'),
        ('{"phone": "0151 2345678"}', '{"phone": "[redacted]"}'),
        ('{"wa_id": 4915123456789}', '{"wa_id": "[redacted]"}'),
        ("call +49 151 23456789 now", "call [redacted] now"),
        ("2026-03-01T10:00:00+01:00", "2026-03-01T10:00:00+01:00"),
        ("order 1234567890123", "order 1234567890123"),
    ],
)
def test_credentials_and_numbers_go_and_the_rest_stays(given_text: str, kept: str) -> None:
    assert redact_text(given_text) == kept


@given(st.emails())
@settings(max_examples=50, deadline=None)
def test_no_address_survives_and_the_same_person_stays_recognisable(address: str) -> None:
    kept = redact_text(json.dumps({"email": address}))
    assert address not in kept
    assert mail_tag("Ann@Example.org") == mail_tag(" ann@example.org")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://u:p@h.example:8/a?token=1&page=2#frag", "https://h.example:8/a?token=[redacted]&page=2"),
        ("https://h.example/a?api_action=x&id=7", "https://h.example/a?api_action=x&id=7"),
        ("https://h.example/a?email=ann%40example.org", f"https://h.example/a?email={mail_tag('ann@example.org')}"),
        ("https://[::1]:9/a?key=1", "https://[::1]:9/a?key=[redacted]"),
        ("/in?sig=abc", "/in?sig=[redacted]"),
    ],
)
def test_a_url_keeps_its_place_and_loses_its_secrets(url: str, kept: str) -> None:
    assert redact_url(url) == kept


@given(st.binary(max_size=300), st.integers(0, 300))
@settings(max_examples=100, deadline=None)
def test_any_body_can_be_kept_and_no_secret_is_in_it(noise: bytes, place: int) -> None:
    secret = "canary-secret-1"
    body = noise[:place] + secret.encode() + noise[place:]
    assert secret not in kept_body(body, secret_forms([secret]))


@given(st.text("+1234567890 ()./-aZ_", max_size=60))
@settings(max_examples=500, deadline=None)
def test_a_phone_number_is_a_plus_after_no_word_and_eight_to_fifteen_digits(text: str) -> None:
    """What the rule says, looked back from the number; the product looks from the plus."""
    plainly = re.sub(r"(?<![\w+-])\+\d(?:[ ()./-]?\d){7,14}(?!\w)", "[redacted]", text)
    assert redact_text(text) == plainly
