"""A local Maildir: what waits in it, and what is moved when its mails are taken."""

import pytest

from recovery.desk import mail_file
from recovery.desk.mail_file import Maildir

from .stage import START


def delivered(box, name, ref, text="hello"):
    for each in ("new", "cur"):
        (box / each).mkdir(parents=True, exist_ok=True)
    lines = ("From: ann@acme.example", "To: help@cxconnect.ai", "Subject: stuck", f"Message-ID: <{ref}>", "", text)
    (box / "new" / name).write_text("\n".join(lines))


def lying_in(box, folder):
    return sorted(path.name for path in (box / folder).iterdir())


async def test_each_waiting_mail_is_read_once_however_many_are_taken(tmp_path, monkeypatch):
    read = []
    parse = mail_file.message_from_bytes
    monkeypatch.setattr(
        mail_file, "message_from_bytes", lambda raw, policy: read.append(raw) or parse(raw, policy=policy)
    )
    for n in range(30):
        delivered(tmp_path, f"{n:02d}", f"m{n}@acme")
    box = Maildir(tmp_path, START)
    for mail in await box.fetch():
        await box.mark_taken(mail.message_ref)
    assert len(read) == 30
    assert (lying_in(tmp_path, "new"), len(lying_in(tmp_path, "cur"))) == ([], 30)


async def test_every_file_of_a_mail_that_was_delivered_twice_is_moved_and_no_other(tmp_path):
    delivered(tmp_path, "1", "m@acme")
    delivered(tmp_path, "2", "m@acme")
    delivered(tmp_path, "3", "other@acme")
    box = Maildir(tmp_path, START)
    await box.fetch()
    await box.mark_taken("m@acme")
    assert (lying_in(tmp_path, "new"), lying_in(tmp_path, "cur")) == (["3"], ["1:2,S", "2:2,S"])


async def test_a_mail_that_another_round_has_moved_is_taken_without_complaint(tmp_path):
    delivered(tmp_path, "1", "m@acme")
    one, other = Maildir(tmp_path, START), Maildir(tmp_path, START)
    await one.fetch()
    await other.fetch()
    await one.mark_taken("m@acme")
    await other.mark_taken("m@acme")
    await other.mark_taken("m@acme")
    assert (lying_in(tmp_path, "new"), lying_in(tmp_path, "cur")) == ([], ["1:2,S"])


@pytest.mark.parametrize("header", ["Message-ID: <a@[", "Cc: team: help@cxconnect.ai, \n .ai;"])
async def test_a_header_that_the_standard_parser_stumbles_over_holds_up_no_mail(tmp_path, header):
    """It raised UnboundLocalError and TypeError, in each round anew, so that no mail behind it was ever read."""
    delivered(tmp_path, "1", "m1@acme")
    raw = f"{header}\nFrom: ann@acme.example\nTo: help@cxconnect.ai\nSubject: stuck\n\nhello\n"
    (tmp_path / "new" / "0").write_text(raw)
    mails = await Maildir(tmp_path, START).fetch()
    assert len(mails) == 2
    (odd,) = (mail for mail in mails if mail.message_ref != "m1@acme")
    assert (odd.sender, odd.to[0], odd.text) == ("ann@acme.example", "help@cxconnect.ai", "hello")
