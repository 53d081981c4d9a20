"""What each `allclear case` command does. Every function returns the exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recovery.case.evidence import MAX_UPLOAD_BYTES
from recovery.case.standing import View, case_lines
from recovery.case.steps import Step, case_list, export_view
from recovery.case.wiring import CaseSystems, open_case_systems
from recovery.errors import UsageError
from recovery.settings import load_settings
from recovery.terminal.progress import Progress
from recovery.terminal.terminal import clean, print_json


@dataclass(frozen=True, slots=True)
class Where:
    """The configuration and the form of the answer."""

    config: Path | None
    as_json: bool = False


@asynccontextmanager
async def _work(where: Where) -> AsyncIterator[CaseSystems]:
    async with open_case_systems(load_settings(where.config), tell=Progress(quiet=where.as_json)) as work:
        yield work


def show(where: Where, view: View) -> int:
    """Prints where a case stands; its exit code."""
    if where.as_json:
        print_json(view)
    else:
        print("\n".join(clean(line) for line in case_lines(view)))
    return int(view["exit_code"])


def fields_of(named: Mapping[str, str], pairs: Sequence[str]) -> dict[str, str]:
    """The intake fields from the options and from `--field name=value`; raises UsageError for any other form."""
    fields = {name: value for name, value in named.items() if value}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"{pair!r} is not name=value.", "Write --field since=2026-11-01.")
        fields[name.strip()] = value
    return fields


def read_upload(path: Path | None) -> bytes | None:
    """The file's content; raises UsageError when it cannot be read or is too large."""
    if path is None:
        return None
    try:
        if path.stat().st_size > MAX_UPLOAD_BYTES:
            raise UsageError(f"{path} is larger than {MAX_UPLOAD_BYTES // 2**20} MB.", "Give a smaller picture.")
        return path.read_bytes()
    except OSError as problem:
        raise UsageError(f"{path} cannot be read ({problem.strerror}).", "Check the path.") from None


async def open_(where: Where, playbook: str, account: str, fields: Mapping[str, str], by: str, check: bool) -> int:
    """`allclear case open`."""
    async with _work(where) as work:
        step = await Step.open(work, playbook, account, fields, by)
        return show(where, await (step.check() if check else step.view()))


async def do(where: Where, ref: str, step: str, /, *values: Any, **named: Any) -> int:
    """Takes one step of `recovery.case.steps.Step` and shows where the case stands then."""
    async with _work(where) as work:
        view = await getattr(await Step.on(work, ref), step)(*values, **named)
        return show(where, view)


async def list_(where: Where) -> int:
    """`allclear case list`."""
    async with _work(where) as work:
        view = await case_list(work)
    if where.as_json:
        print_json(view)
        return 0
    for row in view["cases"]:
        state = "clear" if row["exit_code"] == 0 else f"waiting: {row['waiting'][0]}"
        print(clean(f"{row['case']}  {row['account']}  {row['about']}  {state.splitlines()[0]}"))
    if not view["cases"]:
        print("No cases yet. `allclear case open --help` shows how to open one.")
    return 0


async def export(where: Where, ref: str, output: Path) -> int:
    """`allclear case export`."""
    async with _work(where) as work:
        step = await Step.on(work, ref)
        content = await step.export()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(content)
    view = export_view(step.ref, str(output), content)
    if where.as_json:
        print_json(view)
    else:
        print(f"Exported: {output.resolve()} ({len(content)} bytes, SHA-256 {view['sha256']})")
    return 0
