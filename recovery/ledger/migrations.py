"""The ledger's DDL as ordered migrations: plain functions, each applied in one transaction with its record.

One text serves SQLite and PostgreSQL, but for triggers. The constraints carry the promise (reliability.md 2.2): they
hold against any program that writes to the database, not only this one. K1 to K8 are named in the DDL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select, text

from recovery.errors import LedgerTooNew
from recovery.ledger.archive import archived_history
from recovery.ledger.leases import account_leases
from recovery.ledger.rates import rate_buckets
from recovery.ledger.schema import LEGAL_MOVES, legal_transition, schema_version

LOCK_NUMBER = 7_210_031  # any fixed number: the PostgreSQL advisory lock that makes migrations take turns

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE legal_transition (from_state TEXT NOT NULL, to_state TEXT NOT NULL, PRIMARY KEY (from_state, to_state));
CREATE TABLE worker (owner TEXT PRIMARY KEY, last_batch TEXT NOT NULL DEFAULT '', started_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL, ended_at BIGINT);
CREATE TABLE kill_switch (id BIGINT PRIMARY KEY CHECK (id = 1), reason TEXT NOT NULL CHECK (reason <> ''),
  actor TEXT NOT NULL CHECK (actor <> ''), at BIGINT NOT NULL);
CREATE TABLE plan (digest TEXT PRIMARY KEY, incident TEXT NOT NULL, body TEXT NOT NULL, made_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL CHECK (expires_at > made_at));
CREATE TABLE approval (id BIGINT PRIMARY KEY, plan_digest TEXT NOT NULL REFERENCES plan (digest),
  actor TEXT NOT NULL CHECK (actor <> ''), at BIGINT NOT NULL, recipients BIGINT NOT NULL, caveat BIGINT NOT NULL,
  items TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE item (slot_key TEXT PRIMARY KEY CHECK (slot_key <> ''), account TEXT NOT NULL, system TEXT NOT NULL,
  kind TEXT NOT NULL, object_ref TEXT NOT NULL, due_at BIGINT NOT NULL, name TEXT NOT NULL, verdict TEXT NOT NULL,
  remedy TEXT NOT NULL, outcome TEXT NOT NULL CHECK (outcome IN ('open', 'confirmed', 'skipped', 'held')),
  reason TEXT NOT NULL DEFAULT '', question TEXT, generation BIGINT NOT NULL DEFAULT 0,
  plan_digest TEXT NOT NULL REFERENCES plan (digest), incident TEXT NOT NULL, updated_at BIGINT NOT NULL,
  CONSTRAINT held_item_has_question CHECK (outcome <> 'held' OR question IS NOT NULL),
  CONSTRAINT skipped_item_has_reason CHECK (outcome <> 'skipped' OR reason <> ''));
CREATE TABLE plan_item (plan_digest TEXT NOT NULL REFERENCES plan (digest),
  slot_key TEXT NOT NULL REFERENCES item (slot_key), PRIMARY KEY (plan_digest, slot_key));
CREATE TABLE answer (id BIGINT PRIMARY KEY, slot_key TEXT NOT NULL REFERENCES item (slot_key),
  actor TEXT NOT NULL CHECK (actor <> ''), at BIGINT NOT NULL, choice TEXT NOT NULL CHECK (choice <> ''),
  reason TEXT NOT NULL);
CREATE TABLE action (key TEXT PRIMARY KEY CHECK (key <> ''), slot_key TEXT NOT NULL CHECK (slot_key <> ''),
  account TEXT NOT NULL, kind TEXT NOT NULL, harm BIGINT NOT NULL CHECK (harm BETWEEN 0 AND 3),
  target_ref TEXT NOT NULL, generation BIGINT NOT NULL DEFAULT 0 CHECK (generation >= 0),
  payload_digest TEXT NOT NULL DEFAULT '', recipients BIGINT NOT NULL DEFAULT 0 CHECK (recipients >= 0),
  state TEXT NOT NULL, owner TEXT NOT NULL DEFAULT '', lease_until BIGINT, fence BIGINT NOT NULL DEFAULT 0,
  seq BIGINT NOT NULL, last_hash TEXT NOT NULL, attempts BIGINT NOT NULL DEFAULT 0, repeats BIGINT NOT NULL DEFAULT 0,
  attempt_open BIGINT NOT NULL DEFAULT 0, attempt_ref BIGINT, attempt_deadline BIGINT, lane TEXT,
  elected_ref TEXT NOT NULL DEFAULT '', result_ref TEXT NOT NULL DEFAULT '', hold_question TEXT,
  evidence_digest TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '', made_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  CONSTRAINT confirmed_action_has_evidence CHECK (state <> 'confirmed' OR evidence_digest <> ''),
  CONSTRAINT held_action_has_question CHECK (state <> 'held' OR hold_question IS NOT NULL),
  CONSTRAINT skipped_action_has_reason CHECK (state <> 'skipped' OR note <> ''),
  CONSTRAINT running_action_has_owner CHECK (state NOT IN ('claimed', 'in_flight')
    OR (owner <> '' AND lease_until IS NOT NULL)),
  CONSTRAINT release_in_flight_has_lane CHECK (state <> 'in_flight' OR kind <> 'release' OR harm < 3
    OR lane IS NOT NULL));
CREATE TABLE attempt (id BIGINT PRIMARY KEY, action_key TEXT NOT NULL REFERENCES action (key),
  n BIGINT NOT NULL CHECK (n >= 1), owner TEXT NOT NULL CHECK (owner <> ''), fence BIGINT NOT NULL,
  run_ref TEXT NOT NULL DEFAULT '', reach BIGINT NOT NULL DEFAULT 0, request TEXT NOT NULL, opened_at BIGINT NOT NULL,
  send_by BIGINT NOT NULL, deadline BIGINT NOT NULL, closed_at BIGINT, closed_by TEXT NOT NULL DEFAULT '',
  outcome TEXT CHECK (outcome IN ('applied', 'rejected', 'not_applied', 'unknown')), detail TEXT NOT NULL DEFAULT '',
  evidence_digest TEXT NOT NULL DEFAULT '', UNIQUE (action_key, n),
  CONSTRAINT closed_attempt_has_outcome CHECK ((closed_at IS NULL) = (outcome IS NULL)));
CREATE TABLE action_event (action_key TEXT NOT NULL REFERENCES action (key), seq BIGINT NOT NULL, prev_seq BIGINT,
  from_state TEXT NOT NULL, to_state TEXT NOT NULL, actor TEXT NOT NULL CHECK (actor <> ''), at BIGINT NOT NULL,
  detail TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (action_key, seq),
  UNIQUE (action_key, seq, to_state),
  CHECK ((seq = 1 AND prev_seq IS NULL) OR (prev_seq IS NOT NULL AND prev_seq = seq - 1 AND seq > 1)),
  CONSTRAINT first_event_comes_from_nothing CHECK ((seq = 1) = (from_state = '')),
  FOREIGN KEY (action_key, prev_seq, from_state) REFERENCES action_event (action_key, seq, to_state),
  FOREIGN KEY (from_state, to_state) REFERENCES legal_transition (from_state, to_state));
CREATE TABLE remote_object (system TEXT NOT NULL, account TEXT NOT NULL, ref TEXT NOT NULL CHECK (ref <> ''),
  slot_key TEXT NOT NULL, generation BIGINT NOT NULL DEFAULT 0, action_key TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('elected', 'orphan', 'witness', 'original')), noted_at BIGINT NOT NULL,
  PRIMARY KEY (system, account, ref, slot_key, role));
CREATE TABLE evidence (digest TEXT PRIMARY KEY, system TEXT NOT NULL, account TEXT NOT NULL, request TEXT NOT NULL,
  status BIGINT, at BIGINT NOT NULL, body TEXT NOT NULL, trace_ref TEXT NOT NULL);
CREATE TABLE stream_event (stream TEXT NOT NULL, seq BIGINT NOT NULL CHECK (seq >= 1), kind TEXT NOT NULL,
  actor TEXT NOT NULL, at BIGINT NOT NULL, data TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL,
  PRIMARY KEY (stream, seq));
"""

INDEXES = """
CREATE UNIQUE INDEX one_release_per_slot ON action (slot_key, generation)
  WHERE kind = 'release' AND state NOT IN ('cancelled', 'skipped');
CREATE UNIQUE INDEX one_release_per_account_at_a_time ON action (lane) WHERE lane IS NOT NULL;
CREATE UNIQUE INDEX one_effect_per_action ON attempt (action_key) WHERE outcome IS NULL OR outcome <> 'not_applied';
CREATE UNIQUE INDEX one_elected_per_slot ON remote_object (slot_key, generation) WHERE role = 'elected';
CREATE INDEX action_by_slot ON action (slot_key);
CREATE INDEX action_running ON action (state) WHERE state IN ('claimed', 'in_flight', 'unknown', 'applied');
CREATE INDEX attempt_by_run ON attempt (run_ref) WHERE run_ref <> '';
CREATE INDEX attempt_that_reaches ON attempt (opened_at) WHERE reach > 0;
CREATE INDEX item_by_incident ON item (incident);
CREATE INDEX item_by_outcome ON item (outcome) WHERE outcome <> 'confirmed';
CREATE INDEX plan_by_time ON plan (made_at);
CREATE INDEX approval_by_plan ON approval (plan_digest);
CREATE INDEX answer_by_slot ON answer (slot_key);
"""

# (name, table, when, what it says): a write for which `when` holds is refused.
GUARDS = (
    (
        "legal_move",
        "action",
        "UPDATE",
        "OLD.state <> NEW.state AND NOT EXISTS (SELECT 1 FROM legal_transition"
        " WHERE from_state = OLD.state AND to_state = NEW.state)",
        "an action cannot make this move",
    ),
    ("action_starts_planned", "action", "INSERT", "NEW.state <> 'planned'", "an action starts as planned"),
    (
        "elected_once",
        "action",
        "UPDATE",
        "OLD.elected_ref <> '' AND OLD.elected_ref <> NEW.elected_ref",
        "an elected draft is never changed",
    ),
    ("election_stands", "remote_object", "UPDATE", "OLD.role = 'elected'", "an elected draft is never changed"),
    ("events_are_append_only", "action_event", "UPDATE", "OLD.seq = OLD.seq", "events are append-only"),
    ("streams_are_append_only", "stream_event", "UPDATE", "OLD.seq = OLD.seq", "events are append-only"),
    ("plans_are_frozen", "plan", "UPDATE", "OLD.digest = OLD.digest", "a plan is frozen"),
)


def _statements(script: str) -> list[str]:
    return [each.strip() for each in script.split(";\n") if each.strip()]


def _guards(dialect: str) -> list[str]:
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW WHEN {when} "
            f"BEGIN SELECT RAISE(ABORT, '{name}: {message}'); END"
            for name, table, event, when, message in GUARDS
        ]
    made = []
    for name, table, event, when, message in GUARDS:
        made.append(
            f"CREATE FUNCTION refuse_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {when} THEN "
            f"RAISE EXCEPTION '{name}: {message}' USING ERRCODE = 'integrity_constraint_violation'; END IF; "
            f"RETURN NEW; END $$"
        )
        made.append(f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_{name}()")
    return made


def first_schema(connection: Connection) -> None:
    """Everything the first release needs."""
    for statement in _statements(TABLES) + _statements(INDEXES) + _guards(connection.dialect.name):
        connection.exec_driver_sql(statement)
    moves = [{"from_state": str(old), "to_state": str(new)} for old, news in LEGAL_MOVES.items() for new in news]
    connection.execute(insert(legal_transition), moves)


EVIDENCE_COLUMNS = "digest, system, account, request, status, at, body, trace_ref"
EVIDENCE_KEY = "PRIMARY KEY (digest, system, account)"
# SQLite cannot change a table's key: the table is made anew beside the old one.
EVIDENCE_ANEW = f"""
DROP TABLE IF EXISTS evidence_anew;
CREATE TABLE evidence_anew (digest TEXT NOT NULL, system TEXT NOT NULL, account TEXT NOT NULL, request TEXT NOT NULL,
  status BIGINT, at BIGINT NOT NULL, body TEXT NOT NULL, trace_ref TEXT NOT NULL, {EVIDENCE_KEY});
INSERT INTO evidence_anew ({EVIDENCE_COLUMNS}) SELECT {EVIDENCE_COLUMNS} FROM evidence;
DROP TABLE evidence;
ALTER TABLE evidence_anew RENAME TO evidence;
"""  # noqa: S608 - only constants are put in
EVIDENCE_ALTERED = f"""
ALTER TABLE evidence DROP CONSTRAINT IF EXISTS evidence_pkey;
ALTER TABLE evidence ADD CONSTRAINT evidence_pkey {EVIDENCE_KEY};
"""


def evidence_by_account(connection: Connection) -> None:
    """Evidence keyed by digest, system and account: equal replies of two accounts are two records. All rows stay."""
    script = EVIDENCE_ANEW if connection.dialect.name == "sqlite" else EVIDENCE_ALTERED
    for statement in _statements(script):
        connection.exec_driver_sql(statement)


def item_lookups(connection: Connection) -> None:
    """What the watcher and a person look items up by: how lately they were proven, and their object."""
    connection.exec_driver_sql("CREATE INDEX item_proven ON item (updated_at) WHERE outcome = 'confirmed'")
    connection.exec_driver_sql("CREATE INDEX item_by_object ON item (object_ref)")


MIGRATIONS: Sequence[Callable[[Connection], None]] = (
    first_schema,
    rate_buckets,
    account_leases,
    archived_history,
    evidence_by_account,
    item_lookups,
)


def version_of(connection: Connection) -> int:
    """The schema's version: 0 before the first migration. LedgerTooNew when this program does not know it."""
    if not inspect(connection).has_table("schema_version"):
        return 0
    found = connection.execute(select(schema_version.c.version).order_by(schema_version.c.version.desc())).scalar()
    version = int(found or 0)
    if version > len(MIGRATIONS):
        raise LedgerTooNew(
            f"the ledger has schema version {version}, this program knows up to {len(MIGRATIONS)}",
            "install the allclear version that wrote it, or a newer one; a ledger is never downgraded",
        )
    return version


def migrate_one(connection: Connection, now: int) -> bool:
    """Apply the next migration in the caller's transaction; False when there is none left."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})
    version = version_of(connection)
    if version == len(MIGRATIONS):
        return False
    if version == 0:
        connection.exec_driver_sql(
            "CREATE TABLE schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
    step = MIGRATIONS[version]
    step(connection)
    connection.execute(insert(schema_version).values(version=version + 1, name=step.__name__, applied_at=now))
    return True
