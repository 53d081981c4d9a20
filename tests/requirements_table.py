"""Keeps `docs/requirements.md`: every acceptance row, what it asks for, and the tests that prove it.

The page is edited by hand in two places only: the words of a row, and `open: reason` where no test proves it yet. The
tests are collected from the `requirement` markers, by reading the source of every test. Rewrite it with

    python -m tests.requirements_table

Standard library only, so that it works before anything is installed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "requirements.md"
MARKER = "mark.requirement"
WHOLE_FILE = "every test"

PARTS = {
    "E": (6, "Evidence, for every playbook"),
    "R000": (49, "Link tracking of a message that nobody clicked"),
    "R001": (39, "After an outage of the platform"),
    "R002": (36, "Telling people about a major incident"),
    "R003": (50, "Promised times"),
}
ROW = re.compile(r"^\| (?P<row>[ER][0-9]*\.[0-9]+) \| (?P<words>.*?) \| (?P<proof>.*) \|$")
INTRODUCTION = """\
# What was asked for, and what proves it

One line for each acceptance row, in our own words. A row is proven by the tests that carry its name in a `requirement`
marker; a row that begins with *open* has none yet, and says why. `python -m tests.requirements_table` rewrites the last
column; a test fails when this page and the tests differ.
"""


@dataclass(frozen=True)
class Row:
    """One acceptance row. `proof` maps a test file to the names of its tests; `reason` stands where there are none."""

    name: str
    words: str
    reason: str
    proof: Mapping[str, tuple[str, ...]]

    @property
    def cell(self) -> str:
        """The last column."""
        if not self.proof:
            return f"open: {self.reason}"
        return "<br>".join(f"`{f}`: {', '.join(tests)}" for f, tests in sorted(self.proof.items()))


def expected() -> list[str]:
    """The names of all rows, in their order."""
    return [f"{part}.{n}" for part, (last, _) in PARTS.items() for n in range(1, last + 1)]


def marked(root: Path = TESTS) -> dict[str, dict[str, set[str]]]:
    """Row -> file -> tests that carry it. Raises ValueError where a marker holds anything but plain names."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(root.rglob("test_*.py")):
        file = path.relative_to(root).as_posix()
        for test, row in _markers(ast.parse(path.read_text(encoding="utf-8")).body, file):
            found[row][file].add(test)
    return found


def _markers(body: list[ast.stmt], file: str) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((node.name, row) for d in node.decorator_list for row in _rows(d, file))
        elif isinstance(node, ast.ClassDef):
            yield from ((node.name, row) for d in node.decorator_list for row in _rows(d, file))
            yield from _markers(node.body, file)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            # `pytestmark`, and tables of cases that carry their own marks.
            yield from ((WHOLE_FILE if "pytestmark" in _targets(node) else "its cases", r) for r in _rows(node, file))


def _targets(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {t.id for t in targets if isinstance(t, ast.Name)}


def _rows(node: ast.AST, file: str) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(MARKER):
            for argument in call.args:
                if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                    raise ValueError(f"{file}:{call.lineno}: a requirement marker holds row names only")
                yield argument.value


def read(text: str) -> dict[str, tuple[str, str]]:
    """Row -> (words, reason) as the page has them; the reason is empty where tests stand."""
    rows = {}
    for line in text.splitlines():
        match = ROW.match(line)
        if match:
            proof = match["proof"].strip()
            reason = proof.removeprefix("open:").strip() if proof.startswith("open:") else ""
            rows[match["row"]] = (match["words"].strip(), reason)
    return rows


def rows_of(text: str, root: Path = TESTS) -> list[Row]:
    """Every expected row with the page's words and the tests as they are now."""
    kept, tests = read(text), marked(root)
    return [
        Row(name, *kept.get(name, ("", "")), {f: tuple(sorted(t)) for f, t in tests.get(name, {}).items()})
        for name in expected()
    ]


def render(rows: list[Row]) -> str:
    """The page."""
    lines = [INTRODUCTION]
    for part, (_, title) in PARTS.items():
        lines += [f"## {title}", "", "| row | asks for | proven by |", "|---|---|---|"]
        lines += [f"| {r.name} | {r.words} | {r.cell} |" for r in rows if r.name.split(".")[0] == part]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Rewrites the page; 1 when a row has neither a test nor a reason."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    rows = rows_of(text)
    PAGE.write_text(render(rows), encoding="utf-8")
    bare = [r.name for r in rows if not r.proof and not r.reason]
    unknown = sorted(set(marked()) - set(expected()))
    proven = sum(bool(r.proof) for r in rows)
    lines = [f"{PAGE.name}: {proven} of {len(rows)} rows are proven by tests."]
    lines += [f'{name} needs a test, or "open: reason" in its row' for name in bare]
    lines += [f"{name} is marked but is no row" for name in unknown]
    sys.stdout.write("\n".join([*lines, ""]))
    return 1 if bare or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
