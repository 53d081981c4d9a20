"""A board of another kind: a folder with a file for each task. Nothing of it is in the product but the port."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from recovery.desk.ports import BoardTask, BoardTaskDraft
from recovery.desk_wiring import BoardKit
from recovery.errors import NotFound
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult


class FolderBoard:
    """Implements `recovery.desk.ports.Board`; every write is also a line in `journal`."""

    def __init__(self, kit: BoardKit) -> None:
        self.folder = Path(kit.options["folder"])
        self.folder.mkdir(exist_ok=True)

    async def whoami(self) -> str:
        return self.folder.name

    async def find(self, board_ref: str, marker: str) -> tuple[BoardTask, ...]:
        return tuple(t for t in map(self._read, self.folder.glob(f"{board_ref}-*.json")) if t.marker == marker)

    async def task(self, ref: str) -> BoardTask:
        path = self.folder / f"{ref}.json"
        if not path.exists():
            raise NotFound("clickup", "", "no such file")
        return self._read(path)

    async def create(self, draft: BoardTaskDraft, attempt: OpenAttempt) -> WriteResult:
        del attempt
        ref = f"{draft.board_ref}-{len(list(self.folder.glob('*.json'))) + 1}"
        return self._write("created", ref, draft)

    async def update(self, ref: str, draft: BoardTaskDraft, attempt: OpenAttempt) -> WriteResult:
        del attempt
        return self._write("updated", ref, draft)

    def _write(self, what: str, ref: str, draft: BoardTaskDraft) -> WriteResult:
        told = {"marker": draft.marker, "title": draft.title, "text": draft.text, "status": draft.status}
        (self.folder / f"{ref}.json").write_text(json.dumps(told), encoding="utf-8")
        with (self.folder / "journal").open("a", encoding="utf-8") as journal:
            journal.write(f"{what} {ref}\n")
        return WriteResult(AttemptOutcome.APPLIED, ref)

    def _read(self, path: Path) -> BoardTask:
        told = json.loads(path.read_text(encoding="utf-8"))
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return BoardTask(path.stem, told["marker"], told["title"], told["text"], told["status"], str(path), at)
