"""`allclear archive`: the history and evidence of incidents that ended long ago, moved into one compressed file.

The file is written, flushed to its disk and read back before anything leaves the ledger. It is gzip over JSON lines: a
head, one line an event and one a piece of evidence, and an end with the SHA-256 of all lines before it. Every event
carries its hash chain, whose last link stays in the ledger, so file and ledger can be compared for ever.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from recovery.errors import UsageError
from recovery.ledger.archive import BEFORE_ALL, EvidenceKey, Shelf
from recovery.ledger.schema import to_micros
from recovery.ledger.work import event_hash
from recovery.model import iso

PAGE = 500
FORMAT = "allclear.archive/1"
SHORTEST_DAYS = 7


@dataclass(slots=True)
class Archived:
    """What an archive holds."""

    file: Path
    digest: str = ""
    incidents: tuple[str, ...] = ()
    actions: int = 0
    events: int = 0
    evidence: int = 0


@dataclass(slots=True)
class _Lines:
    """Writes lines and remembers their digest."""

    out: IO[bytes]
    seen: Any = field(default_factory=hashlib.sha256)

    def write(self, what: dict[str, Any]) -> None:
        line = json.dumps(what, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        self.seen.update(line)
        self.out.write(line)


async def archive(shelf: Shelf, now: datetime, older_than: timedelta, file: Path) -> Archived:
    """Write the file, check it, then drop from the ledger what it holds. UsageError: too young, or the file is there.

    After a crash in between the ledger still has all that the file has; run it again into another file.
    """
    if older_than < timedelta(days=SHORTEST_DAYS):
        raise UsageError(f"an archive takes what ended {SHORTEST_DAYS} days ago or earlier", "give --before 90d")
    _refuse_existing(file)
    before = to_micros(now - older_than)
    made = Archived(file)
    made.incidents, evidence_before = await shelf.closed(before)
    if not made.incidents:
        return made
    draft = file.with_name(f"{file.name}.part")
    descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
            lines = _Lines(packed)  # type: ignore[arg-type]  # a GzipFile is all of IO that is used
            lines.write({"format": FORMAT, "before": iso(now - older_than), "incidents": made.incidents})
            await _copy_out(shelf, lines, made, before, evidence_before)
            lines.write({"end": made.events + made.evidence, "sha256": lines.seen.hexdigest()})
        raw.flush()
        os.fsync(raw.fileno())
    made.digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    problems = await check(shelf, draft)
    if problems:
        raise UsageError(f"the archive does not hold what the ledger has: {problems[0]}", "nothing was dropped")
    draft.replace(file)
    _sync_folder(file.parent)
    await _drop(shelf, file, made.digest)
    return made


def _refuse_existing(file: Path) -> None:
    if file.exists():
        raise UsageError(f"{file} is there already", "archives are never overwritten: name another file")


async def _copy_out(shelf: Shelf, lines: _Lines, made: Archived, before: int, evidence_before: int) -> None:
    after = ""
    while keys := await shelf.actions(made.incidents, before, after, PAGE):
        after = keys[-1]
        made.actions += len(keys)
        for event in await shelf.events(keys):
            lines.write({"event": dict(event)})
            made.events += 1
    named, last = await shelf.named(made.incidents, evidence_before), BEFORE_ALL
    while rows := await shelf.evidence(evidence_before, last, PAGE):
        last = EvidenceKey.of(rows[-1])
        for row in rows:
            if row["digest"] not in named:
                lines.write({"evidence": dict(row)})
                made.evidence += 1


async def _drop(shelf: Shelf, file: Path, digest: str) -> None:
    keys: dict[str, None] = {}
    evidence: list[EvidenceKey] = []
    for line in _read(file):
        if "event" in line:
            keys[line["event"]["action_key"]] = None
        elif "evidence" in line:
            evidence.append(EvidenceKey.of(line["evidence"]))
        if len(keys) > PAGE:
            last = line["event"]["action_key"]
            await shelf.forget([key for key in keys if key != last], [], digest)
            keys = {last: None}
        if len(evidence) >= PAGE:
            await shelf.forget([], evidence, digest)
            evidence = []
    await shelf.forget(list(keys), evidence, digest)


async def check(shelf: Shelf | None, file: Path) -> tuple[str, ...]:
    """Everything wrong with an archive: torn, changed, or (with `shelf`) not what the ledger remembers."""
    problems: list[str] = []
    ends: dict[str, str] = {}
    try:
        for line in _read(file):
            if "event" not in line:
                continue
            event = line["event"]
            key = event["action_key"]
            if event["prev_hash"] != ends.get(key, "") or event["hash"] != event_hash(event):
                problems.append(f"action {key}: event {event['seq']} was changed or does not follow the one before")
            ends[key] = event["hash"]
    except (OSError, EOFError, ValueError, KeyError) as problem:
        return (f"it cannot be read: {problem}",)
    keys = sorted(ends)
    for start in range(0, len(keys) if shelf is not None else 0, PAGE):
        assert shelf is not None
        some = keys[start : start + PAGE]
        known = await shelf.last_hashes(some)
        problems += [f"action {key} ends differently in the ledger" for key in some if known.get(key) != ends[key]]
    return tuple(problems)


def _read(file: Path) -> Iterator[dict[str, Any]]:
    """The lines between head and end; ValueError when the end is missing or does not fit."""
    seen, number, ended = hashlib.sha256(), 0, False
    with gzip.open(file, "rb") as lines:
        for line in lines:
            what = json.loads(line)
            if "end" in what:
                if what["sha256"] != seen.hexdigest() or what["end"] != number:
                    raise ValueError("its lines are not those that were written")
                ended = True
                continue
            seen.update(line)
            if "format" in what:
                if what["format"] != FORMAT:
                    raise ValueError("it is of another format")
                continue
            number += 1
            yield what
    if not ended:
        raise ValueError("its end is missing")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
