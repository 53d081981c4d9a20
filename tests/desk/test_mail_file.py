"""What is read of a mail: its text, whatever program wrote it."""

import time

import pytest

from recovery.desk import mailbox
from recovery.desk.mail_file import read_mail

from . import stage
from .stage import START

HEAD = "From: Ann <ann@acme.example>\nTo: help@cxconnect.ai\nSubject: stuck\nMessage-ID: <m@acme>\n"


def read(body, kind="text/html; charset=utf-8", to=""):
    head = HEAD.replace("help@cxconnect.ai", to) if to else HEAD
    return read_mail(f"{head}Content-Type: {kind}\n\n".encode() + body, START)


@pytest.mark.requirement("R003.10", "R003.32")
@pytest.mark.parametrize(
    "html",
    [
        b"<div>Environment: staging</div><div>Started at: 9</div><div>Steps: open<br>send</div><p>Symptoms: <b>none</b>"
        b"</p><p>Impact: all</p>",
        b"<style>p{x:y}</style><p>Environment:\n staging</p>\n<p>Started at: 9</p>\n<p>Steps: open<br/>send</p>\n"
        b"<ul><li>Symptoms: none<li>Impact: all</ul>",
    ],
)
def test_the_fields_of_a_mail_in_html_stand_on_lines_of_their_own(desk, html):
    """On one line the first field swallowed all others: they were asked for again, and staging was paged as P1."""
    request = mailbox.take_in(desk, read(html, to=stage.P1_ADDRESS))
    assert (request.missing, request.fields["steps"], request.severity) == ((), "open\nsend", "P2")


@pytest.mark.parametrize("part", [b"<style ", b"<", b"<div", b"<script>"])
def test_a_large_mail_of_unfinished_tags_is_read_at_once(part):
    """Each of them was searched to the end of the mail: nine megabytes took hours, in each round anew."""
    began = time.monotonic()
    read(part * (400_000 // len(part)))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("charset", "body"),
    [("x-unknown-1", "Symptoms: café".encode()), ("utf8mb4", b"Symptoms: caf\xe9")],
)
def test_text_of_an_unknown_charset_is_kept(charset, body):
    """It was dropped whole, and the customer was asked for all that stood in it."""
    assert read(body, f"text/plain; charset={charset}").text == "Symptoms: café"


def test_an_empty_plain_part_does_not_hide_the_html(desk):
    body = b"--B\nContent-Type: text/plain\n\n \n--B\nContent-Type: text/html\n\n<p>Symptoms: none</p>\n--B--\n"
    assert read(body, "multipart/alternative; boundary=B").text == "Symptoms: none"


@pytest.mark.parametrize(("charset", "body"), [("utf-7", b"+2AA-"), ("unicode_escape", b"\\ud800")])
def test_no_text_holds_half_a_character(charset, body):
    """Which no ledger, desk or mail server takes."""
    assert read(body, f"text/plain; charset={charset}").text == "?"


@pytest.mark.parametrize("header", ["To", "From", "Subject", "Message-ID", "Content-Type"])
@pytest.mark.parametrize("part", ['"', "\\", ",", "(", "a@b.example, "])
def test_a_long_header_neither_stops_nor_delays_a_round(header, part):
    """The standard parser takes the square of its length, or raises RecursionError."""
    began = time.monotonic()
    read_mail(f"{header}: {part * (60_000 // len(part))}\n{HEAD}\nhello\n".encode(), START)
    assert time.monotonic() - began < 5


def test_recipients_beyond_what_the_standard_parser_reads_are_found():
    """A P1 address at the end of a long list is a P1."""
    many = ",\n ".join(f"Person {n} <p{n}@acme.example>" for n in range(500))
    mail = read_mail(f"Cc: {many}, =?utf-8?q?Caf=C3=A9?= <Last@cxconnect.ai>\n{HEAD}\nhello\n".encode(), START)
    assert (len(mail.to), mail.to[-1]) == (502, "last@cxconnect.ai")
    mail = read_mail(f"Cc: {'(' * 5000} <last@cxconnect.ai>\n{HEAD}\nhello\n".encode(), START)
    assert "last@cxconnect.ai" in mail.to


@pytest.mark.parametrize("header", ["<a@acme>", "<a@acme> <b@acme>", "<a@acme>\n <b@acme>"])
def test_a_mail_that_answers_several_answers_the_first(header):
    mail = read_mail(f"In-Reply-To: {header}\n{HEAD}\nhello\n".encode(), START)
    assert mail.in_reply_to == "a@acme"


def test_the_thread_of_a_mail_is_read_from_both_headers_the_likeliest_first():
    """Some programs name the answered mail in References alone; folded lines and rubbish between do no harm."""
    thread = "<a@acme>\n <b@acme>  rubbish <c@acme>"
    assert read_mail(f"References: {thread}\n{HEAD}\nhi\n".encode(), START).answers == ("c@acme", "b@acme", "a@acme")
    mail = read_mail(f"References: {thread}\nIn-Reply-To: <b@acme>\n{HEAD}\nhi\n".encode(), START)
    assert mail.answers == ("b@acme", "c@acme", "a@acme")
    long = " ".join(f"<{n}@acme>" for n in range(5000))
    assert len(read_mail(f"References: {long}\n{HEAD}\nhi\n".encode(), START).references) == 50


@pytest.mark.parametrize("header", ["Delivered-To", "X-Original-To", "Envelope-To"])
def test_the_address_that_the_mail_server_delivered_to_counts(header):
    """A P1 address in Bcc, or behind a forwarding, stands nowhere else."""
    mail = read_mail(f"{header}: <P1-Secret@cxconnect.ai>\n{HEAD}\nhi\n".encode(), START)
    assert "p1-secret@cxconnect.ai" in mail.to


@pytest.mark.parametrize(
    "header",
    ["Auto-Submitted: auto-replied", "Auto-Submitted: auto-generated; x=y", "Precedence: bulk", "Return-Path: <>"],
)
def test_a_mail_that_a_program_wrote_is_kept_and_answered_by_none(desk, header):
    """RFC 3834: an out-of-office reply to a receipt, and a receipt to that, would go on for ever."""
    mail = read_mail(f"{header}\n{HEAD}\nI am away\n".encode(), START)
    request = mailbox.take_in(desk, mail)
    assert mail.text == "I am away"
    assert mailbox.answers(desk, request, mail) == ()


@pytest.mark.parametrize("header", ["Auto-Submitted: no", "Precedence: first-class", "Return-Path: <ann@acme.example>"])
def test_a_mail_that_says_that_a_person_wrote_it_is_answered(desk, header):
    mail = read_mail(f"{header}\n{HEAD}\nstuck\n".encode(), START)
    assert mailbox.answers(desk, mailbox.take_in(desk, mail), mail) != ()
