"""A small stage for desk tests: settings with two clients, a journal in memory, remotes that take what they get."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recovery.desk import alarms, outbox, rules
from recovery.desk.fold import fold
from recovery.desk.incident import MACHINE, Report
from recovery.desk.settings import load_desk

CONFIG = Path(__file__).resolve().parents[2] / "config"
P1_ADDRESS = "p1-7f3a@intake.example"
START = datetime(2026, 7, 1, 16, 0, tzinfo=UTC)  # Wednesday 10:00 in Denver
CLIENTS = """
[clients.acme]
name = "Acme Theatre"
calendar = "support"
p1_address_env = "P1_ACME"
domains = ["acme.example"]
notice_to = ["it@acme.example"]
board_ref = "901200000001"
live_since = 2026-01-15T00:00:00Z

[clients.opera]
name = "City Opera"
calendar = "support"
p1_address_env = "P1_OPERA"
domains = ["opera.example"]
board_ref = "901200000002"
live_since = 2027-01-15T00:00:00Z
"""
ENVIRON = {"P1_ACME": P1_ADDRESS, "P1_OPERA": "p1-11aa@intake.example"}


def copy_config(target, **edits):
    """The shipped configuration with two clients, and with text replaced: `desk=[(old, new)]`, `sla=[…]`."""
    (target / "templates").mkdir(parents=True, exist_ok=True)
    for template in (CONFIG / "templates").glob("*.j2"):
        (target / "templates" / template.name).write_text(template.read_text())
    for name in ("desk", "sla"):
        shipped, clients = (CONFIG / f"{name}.toml").read_text(), CLIENTS if name == "desk" else ""
        for old, new in edits.get(name, []):
            assert old in shipped + clients, f"{old!r} is not in {name}.toml"
            if old in clients:
                clients = clients.replace(old, new, 1)
            else:
                shipped = shipped.replace(old, new, 1)
        (target / f"{name}.toml").write_text(shipped + clients)
    return target


def settings(tmp_path, **edits):
    return load_desk(copy_config(tmp_path, **edits), ENVIRON)


GUIDES = (
    'mode = "manual"                # "guides" switches prepared guides, "manual" asks a person, "off"',
    'mode = "guides"\nguides = { investigating = "g1", identified = "g2", resolved = "g3" }\n'
    'segments = { entire = "all-visitors", subset = "affected" }',
)


@dataclass(frozen=True)
class Recorded:
    seq: int
    kind: str
    by: str
    at: datetime
    data: dict


@dataclass
class Play:
    """One incident being played: changes are appended, effects are delivered when the system is not in `down`."""

    settings: object
    now: datetime = START
    events: list = field(default_factory=list)
    done: list = field(default_factory=list)
    down: set = field(default_factory=set)

    @property
    def incident(self):
        return fold("inc-1", self.events)

    def add(self, *changes):
        for change in changes:
            self.events.append(Recorded(len(self.events) + 1, change.kind, change.by, change.at, dict(change.data)))
        return self.incident

    def declare(self, **said):
        fields = {
            "title": "Mails are not going out",
            "source": "alert",
            "source_ref": "alert-9",
            "severities": ("P1",),
            "scope": "subset",
            "kind": "outage",
            "environment": "production",
            "time_zone": "America/Denver",
            "noticed_at": self.now,
            "started_at": self.now - timedelta(minutes=20),
            "customers": ("acme",),
            "steps": ("Schedule a campaign",),
            "symptoms": ("Campaigns stay pending",),
        } | said
        return self.add(rules.declare(self.settings, "engineer.on.call", self.now, rules.Declaration(**fields)))

    def report(self, ref, account="acme", **more):
        fields = {
            "customer": "Ann",
            "email": f"ann@{account}.example",
            "subject": "Nothing is sent",
            "text": "Our newsletter did not go out.",
            "received_at": self.now,
        } | more
        return self.add(rules.add_report(MACHINE, Report(ref, account, **fields), self.now))

    def announce(self, phase, reason="", by="support.lead", approver="success.lead"):
        self.add(rules.prepare_announcement(self.settings, self.incident, by, self.now, phase, reason))
        digest = self.incident.draft.digest
        return self.add(rules.approve_announcement(self.settings, self.incident, approver, self.now, digest))

    def confirm(self):
        return self.add(rules.confirm_resolved(self.settings, "engineer.on.call", self.now, "queues are empty"))

    def wait(self, **delta):
        self.now += timedelta(**delta)
        return self.now

    def due(self):
        return outbox.effects_for(self.incident, self.now, self.settings)

    def deliver(self):
        """Perform everything that is due, round after round, until nothing new appears."""
        self.add(*alarms.alarms_due(self.settings, self.incident, self.now))
        while todo := [e for e in self.due() if e.system.value not in self.down]:
            for effect in todo:
                self.done.append(effect)
                ref = f"{effect.system.value}-{len(self.done)}"
                self.mark(effect.name, ref)
        return self.incident

    def mark(self, name, ref="by-hand"):
        data = {"effect": name, "ref": ref, "url": f"https://example.test/{ref}"}
        self.events.append(Recorded(len(self.events) + 1, "effect_done", MACHINE, self.now, data))

    def fail(self, name, reason="down", final=False):
        data = {"effect": name, "reason": reason, "final": final}
        self.events.append(Recorded(len(self.events) + 1, "effect_failed", MACHINE, self.now, data))

    def names(self, part=""):
        return [e.name for e in self.done if part in e.name]
