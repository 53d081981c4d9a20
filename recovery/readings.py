"""What a person read off the Integrated Dashboard, as a file: TOML, JSON or CSV (assisted mode, docs/assisted.md).

A file holds up to three parts, `definitions`, `activity_log` and `console`; each stands until a newer one is uploaded,
and each is believed only for as long as the settings say. `read_at` is when the person looked, never when they saved.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from recovery.errors import RefusedError, UsageError
from recovery.model import Exchange, System, iso
from recovery.ports import Clock

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

PARTS = ("definitions", "activity_log", "console")
MOST_BYTES = 2_000_000
KEPT_CHARS = 64 * 1024
FUTURE = timedelta(minutes=2)
FORM = "docs/assisted.md shows the form"
HEADER = frozenset({"account", "read_at", "covers_from", "covers_to", "complete"})
COUNTS = ("returned", "updated", "errored")
RUN_COLUMNS = (
    *("log", "run_id", "definition_id", "state", "requested_by", "scheduled_for", "started_at", "ended_at"),
    *COUNTS,
    "tags",
)

Check = Callable[[str, Mapping[str, Mapping[str, object]]], None]


@dataclass(frozen=True, slots=True)
class Upload:
    """A reading as read from its file: the parts it holds and when the person looked."""

    account: str
    read_at: datetime
    parts: Mapping[str, Mapping[str, object]]
    sha256: str
    text: str


def parse_reading(name: str, content: bytes, account: str) -> Upload:
    """The upload in a file called `name` (its ending decides the form). UsageError names what is wrong."""
    if not content.strip() or len(content) > MOST_BYTES:
        raise UsageError(f"A reading has from 1 to {MOST_BYTES} bytes; this one has {len(content)}.", FORM)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("The reading is not UTF-8 text.", "Save it as UTF-8 and upload it again.") from None
    ending = name.rsplit(".", 1)[-1].lower()
    if ending not in _FORMS:
        raise UsageError(f"A reading is a .toml, .json or .csv file, not {name!r}.", FORM)
    try:
        given = _FORMS[ending](text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, csv.Error, RecursionError) as error:
        raise UsageError(f"The reading cannot be understood: {error}.", FORM) from None
    return _upload(given, account, hashlib.sha256(content).hexdigest(), text)


def _upload(given: Any, account: str, digest: str, text: str) -> Upload:
    if not isinstance(given, dict):
        raise UsageError("The reading is a list where a table belongs.", FORM)
    strangers = sorted(set(given) - HEADER - set(PARTS))
    if strangers:
        raise UsageError(f"The reading has an unknown key {strangers[0]!r}.", FORM)
    if given.get("account") != account:
        raise UsageError(
            f"The reading says account {given.get('account')!r}, not {account!r}.", "Upload the right one."
        )
    read_at = _moment(given.get("read_at"), "read_at")
    shared: dict[str, object] = {
        "read_at": read_at.isoformat(),
        "sha256": digest,
        "complete": given.get("complete") is True,
    }
    shared |= {k: iso(_moment(given[k], k)) for k in ("covers_from", "covers_to") if k in given}
    parts = {name: {**shared, "rows": _plain(given[name])} for name in PARTS if name in given}
    if not parts:
        raise UsageError("The reading holds none of definitions, activity_log and console.", FORM)
    if "activity_log" in parts and "covers_from" not in shared:
        raise UsageError("covers_from is missing: since when does the Activity Log show every run?", FORM)
    return Upload(account, read_at, parts, digest, text)


def _moment(value: object, name: str) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise UsageError(f"{name} is not a time such as 2026-11-01T08:30:00Z.", FORM) from None
    if moment.tzinfo is None:
        raise UsageError(f"{name} has no time zone.", "Write it as 2026-11-01T08:30:00Z or with an offset.")
    return moment.astimezone(UTC)


def _plain(rows: object) -> list[dict[str, object]]:
    """Rows as JSON holds them. A run without an id is called by its definition and start."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError("Each part is a list of rows.", FORM)
    made = []
    for row in rows:
        plain = json.loads(json.dumps(row, default=lambda v: v.isoformat() if isinstance(v, datetime) else str(v)))
        if "state" in plain and not plain.get("run_id"):
            plain["run_id"] = (
                f"{plain.get('definition_id', '')}@{plain.get('started_at') or plain.get('scheduled_for')}"
            )
        made.append(plain)
    return made


def _csv(text: str) -> dict[str, object]:
    """Lines "# key: value" first, then a header row and one run a row; `log` says which log it stands in."""
    given: dict[str, object] = {}
    lines = text.splitlines()
    while lines and lines[0].startswith("#"):
        key, _, value = lines.pop(0)[1:].partition(":")
        given[key.strip()] = value.strip()
    given["complete"] = str(given.get("complete", "")).lower() == "true"
    reader = csv.DictReader(io.StringIO("\n".join(lines)), strict=True)
    strangers = sorted(set(reader.fieldnames or ()) - set(RUN_COLUMNS))
    if strangers or "log" not in (reader.fieldnames or ()):
        raise UsageError(f"The columns are {', '.join(RUN_COLUMNS)}; {', '.join(strangers) or 'log'} is wrong.", FORM)
    # An empty Console is a reading too, and the usual one: a CSV always states both logs.
    logs: dict[str, list[dict[str, object]]] = {"activity_log": [], "console": []}
    for row in reader:
        where = (row.pop("log") or "").strip()
        if where not in logs or None in row:
            raise UsageError(f"Row {reader.line_num}: log is activity_log or console, and no cell too many.", FORM)
        counts = {k: row.pop(k) for k in COUNTS if row.get(k)}
        kept: dict[str, object] = {k: v for k, v in row.items() if v and k not in COUNTS}
        if tags := row.get("tags"):
            kept["tags"] = [tag.strip() for tag in tags.split(";")]
        logs[where].append({**kept, **({"counts": counts} if counts else {})})
    return {**given, **logs}


_FORMS: Mapping[str, Callable[[str], Any]] = {"toml": tomllib.loads, "json": json.loads, "csv": _csv}


async def keep_reading(ledger: Ledger, clock: Clock, upload: Upload, by: str, check: Check) -> str:
    """Stores the parts in the account's stream and the file as evidence; one sentence.

    RefusedError: nobody named, a time of reading in the future, or one older than what is stored. `check` reads every
    row as the client will (BadReply).
    """
    if not by.strip():
        raise RefusedError("A reading needs the name of who read it.", "Give --by.")
    if upload.read_at > clock.now() + FUTURE:
        raise RefusedError("The reading is from the future.", "read_at is when you looked at the dashboard.")
    check(upload.account, upload.parts)
    stream = f"reading/{upload.account}"
    events = await ledger.stream(stream)
    for name in upload.parts:
        last = next((e for e in reversed(events) if e.kind == name), None)
        if last is not None and datetime.fromisoformat(str(last.data["read_at"])) > upload.read_at:
            raise RefusedError(f"A newer reading of the {name.replace('_', ' ')} is stored.", "Read it again.")
    what = f"reading of the dashboard by {by.strip()}"
    text = upload.text[:KEPT_CHARS]
    await ledger.keep(Exchange(System.DASHBOARD.value, upload.account, what, None, clock.now(), upload.sha256, text))
    await ledger.flush()
    seq = len(events)
    for name, data in upload.parts.items():
        seq = await ledger.append(stream, name, by.strip(), clock.now(), data, seq)
    return f"Recorded: {', '.join(sorted(upload.parts))} of {upload.account} as read at {iso(upload.read_at)}."
