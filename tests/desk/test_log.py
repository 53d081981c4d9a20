"""The incident's events in a journal, and drafts under their action keys."""

import pytest

from recovery.desk import log, rules
from recovery.desk.outbox import stamped
from recovery.errors import LedgerConflict, UsageError
from recovery.model import marker_of

from .stage import START, Recorded


class MemoryJournal:
    """A journal with the ledger's promise: no gap, no overwrite."""

    def __init__(self):
        self.streams = {}

    async def append(self, stream, kind, by, at, data, expected_seq=None):
        events = self.streams.setdefault(stream, [])
        if expected_seq is not None and expected_seq != len(events):
            raise LedgerConflict("somebody was faster")
        events.append(Recorded(len(events) + 1, kind, by, at, dict(data)))
        return len(events)

    async def stream(self, name):
        return tuple(self.streams.get(name, ()))


@pytest.mark.requirement("R002.4", "R003.21")
async def test_of_two_who_declare_at_once_one_is_told_to_look_again(play):
    """The second declaration of the same name is a conflict, not a second incident."""
    play.declare()
    journal, declared = MemoryJournal(), play.events[0]
    change = rules.Change(declared.kind, declared.by, declared.at, declared.data)
    assert await log.record(journal, "inc-1", [change], 0) == 1
    with pytest.raises(LedgerConflict):
        await log.record(journal, "inc-1", [change], 0)
    assert (await log.load(journal, "inc-1")).title == "Mails are not going out"


async def test_an_unknown_incident_is_named():
    """A misspelt name is the caller's mistake."""
    assert await log.find(MemoryJournal(), "inc-9") is None
    with pytest.raises(UsageError, match='"inc-9"'):
        await log.load(MemoryJournal(), "inc-9")


def test_drafts_carry_their_key_where_the_remote_keeps_it(play):
    """Page: dedup key; mail: Message-ID; everything else: marker, never in the text."""
    play.declare(scope="entire")
    play.report("r1")
    play.announce("investigating")
    play.deliver()
    found = {}
    for effect in play.done:
        if "draft" in effect.payload:
            draft = stamped(effect.payload["draft"], "KEY")
            found[effect.system.value] = (
                getattr(draft, "dedup_key", "") or getattr(draft, "message_ref", "") or draft.marker
            )
            assert marker_of("KEY") not in getattr(draft, "text", "") + getattr(draft, "body", "")
    mark = marker_of("KEY")
    assert found == {"pagerduty": "KEY", "smtp": "KEY", "jira": mark, "zendesk": mark, "statuspage": mark}
    assert play.incident.declared_at == START
