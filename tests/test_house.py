"""The house rules that a machine can check: who may import whom, what `--help` loads, lengths, what is never written.

The exception tables are part of the rules: each row gives its reason, and a row that is no longer needed fails.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("recovery", "integrations", "flows", "sandbox", "bench", "tests")
PRODUCT = ("recovery", "integrations", "flows", "sandbox")
LONGEST = 450

# May only shrink: a file here may not grow past its number, and leaves the table once it fits.
LONG_FILES = {
    "recovery/ports.py": (
        500,
        "the Protocols of the core on one page: a client sees all it must provide",
    ),
}

WORDS = frozenset({"recovery.model", "recovery.errors"})
# The pure modules: what each may import beside the standard library.
PURE = {
    "recovery/model.py": frozenset[str](),
    "recovery/errors.py": frozenset[str](),
    "recovery/ports.py": frozenset({"recovery.model"}),
    "recovery/ledger/rows.py": frozenset({"recovery.model"}),
    "recovery/policy.py": frozenset({"recovery.model"}),
    "recovery/window.py": WORDS,
    "recovery/slots.py": WORDS | {"cronsim", "dateutil"},
    "recovery/testify.py": WORDS | {"recovery.policy", "recovery.ports"},
    "recovery/judge.py": WORDS | {"recovery.policy", "recovery.testify"},
    "recovery/plan.py": WORDS | {"recovery.policy"},
    "recovery/gate.py": WORDS | {"recovery.policy", "recovery.ports", "recovery.testify"},
    "recovery/approvals.py": WORDS | {"recovery.policy"},
    "recovery/proof.py": WORDS | {"recovery.ledger.rows", "recovery.testify"},
}

DESK_CLIENT = "a client of the desk: its roles stand in the desk's own ports"
PANEL_CLIENT = "a client of a messaging panel: its role stands in the panels' own ports"
WIRING = "opens the concrete clients that settings name"
# (file, what it imports) -> why the general rule does not hold there.
ALLOWED = {
    ("integrations/zendesk.py", "recovery.desk.ports"): DESK_CLIENT,
    ("integrations/zendesk_search.py", "recovery.desk.ports"): DESK_CLIENT,
    ("integrations/pagerduty.py", "recovery.desk.ports"): DESK_CLIENT,
    ("integrations/clickup.py", "recovery.desk.ports"): DESK_CLIENT,
    ("integrations/pendo.py", "recovery.desk.ports"): DESK_CLIENT,
    ("integrations/statuspage.py", "recovery.desk.ports"): DESK_CLIENT,
    ("integrations/smtp.py", "recovery.desk.ports"): DESK_CLIENT,
    ("integrations/meta.py", "recovery.case.panel_ports"): PANEL_CLIENT,
    ("integrations/netcore.py", "recovery.case.panel_ports"): PANEL_CLIENT,
    ("integrations/templates.py", "recovery.case.panel_ports"): PANEL_CLIENT,
    ("recovery/wiring.py", "integrations"): WIRING,
    ("recovery/case/wiring.py", "integrations"): WIRING,
    ("recovery/desk_wiring.py", "integrations"): WIRING,
    ("recovery/webhook_server.py", "integrations.webhooks"): "checks signatures over the raw body; opens no client",
    (
        "recovery/terminal/cli_recovery.py",
        "flows.record",
    ): "records a run on a Prefect server when PREFECT_API_URL names one",
    ("recovery/settings.py", "prefect"): "reads a secret out of a Prefect block, only when settings name one",
}

# Who beside the terminal itself may import it; the core and what is served never do.
TERMINAL_USERS = {
    "recovery/cli.py": "puts the terminal's commands together",
}

HEAVY = ("prefect", "sqlalchemy", "httpx", "aiohttp", "pydantic", "jinja2", "msgspec", "dateutil")

# Put together here so that this file does not hold what it looks for.
INDEX_WORDS = ("py" + "pi", "--index" + "-url", "--extra-" + "index", "files.python" + "hosted", "/sim" + "ple/")
PATH_WORDS = ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/")
UNFINISHED = ("TO" + "DO", "FIX" + "ME")


def python_files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py") if "results" not in p.parts)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything that a file imports, inside functions too; relative imports are made absolute."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from recovery import slots` imports a module, `from recovery.model import Slot` a name.
            yield from (f"{module}.{a.name}" for a in node.names) if module in OURS else (module,)


def within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def may(path: Path, name: str) -> bool:
    """Whether the general rule lets a product file import a module of ours, or Prefect."""
    folder = path.relative_to(ROOT).parts[0]
    own = {
        "recovery": ("recovery",),
        "integrations": ("integrations", *WORDS, "recovery.ports"),
        "flows": ("flows", "recovery", "prefect"),
        "sandbox": ("sandbox",),
    }[folder]
    return any(within(name, allowed) for allowed in own)


def strangers() -> set[tuple[str, str]]:
    """Imports that break the general rule, as (file, module)."""
    watched = (*OURS, "prefect")
    return {
        (name_of(path), name)
        for path in python_files(*PRODUCT)
        for name in imports(path)
        if name.split(".")[0] in watched and not may(path, name)
    }


def allowed_as(file: str, name: str) -> tuple[str, str] | None:
    return next((row for row in ALLOWED if row[0] == file and within(name, row[1])), None)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: the tracked files are not known")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def lines_that_hold(words: tuple[str, ...]) -> list[str]:
    found = []
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines() if any(w in text for w in words) else ()
        found += [
            f"{name_of(path)}:{n}: {x.strip()[:90]}" for n, x in enumerate(lines, 1) if any(w in x for w in words)
        ]
    return found


# ---- who may import whom --------------------------------------------------------------------------------------------


def test_each_part_imports_only_what_the_design_lets_it() -> None:
    """The core knows no Prefect, client or sandbox; clients know the words and the ports; the sandbox nothing."""
    assert {row for row in strangers() if allowed_as(*row) is None} == set()


def test_every_exception_is_still_needed() -> None:
    used = {allowed_as(*row) for row in strangers()}
    assert set(ALLOWED) - used == set()


def test_nothing_but_the_edge_imports_the_terminal() -> None:
    """Terminal and flows are two hulls round the same calls; the calls know neither."""
    users = {name_of(p) for p in python_files(*PRODUCT) if any(within(n, "recovery.terminal") for n in imports(p))}
    assert {user for user in users if not user.startswith("recovery/terminal/")} == set(TERMINAL_USERS)


def test_the_core_knows_nothing_of_what_is_served() -> None:
    """What Prefect is served is made from the core; data goes one way."""
    users = {name_of(p) for p in python_files(*PRODUCT) if any(within(n, "recovery.served") for n in imports(p))}
    assert {u for u in users if not u.startswith(("recovery/served/", "flows/"))} == set()


@pytest.mark.parametrize("file", PURE)
def test_the_pure_modules_import_only_the_words_and_each_other(file: str) -> None:
    """No clock, no socket, no file, no framework: standard library and what the table names."""
    outside = {"asyncio", "os", "pathlib", "socket", "subprocess", "threading", "time", "random", "logging", "sqlite3"}
    names = set(imports(ROOT / file))
    ours_or_foreign = {n for n in names if n.split(".")[0] not in sys.stdlib_module_names}
    assert {n for n in ours_or_foreign if not any(within(n, allowed) for allowed in PURE[file])} == set()
    assert {n for n in names if n.split(".")[0] in outside} == set()


def test_only_the_wiring_reads_the_machine_s_clock() -> None:
    """Time comes through the injected clock, so that tests and rehearsals can move it."""
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.sleep"}
    found = {
        name_of(path)
        for path in python_files("recovery", "integrations")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in clocks
    }
    assert found == {"recovery/wiring.py"}


# ---- what a start costs ---------------------------------------------------------------------------------------------


def loaded_by(code: str, *modules: str) -> str:
    """Which of the modules a fresh interpreter has loaded after the code."""
    ask = f"{code}\nprint('LOADED', *(m for m in {modules!r} if m in sys.modules))\n"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, timeout=60)
    last = done.stdout.splitlines()[-1:]
    assert last and last[0].startswith("LOADED"), done.stdout[-500:] + done.stderr[-500:]
    return last[0].removeprefix("LOADED").strip()


def started(*words: str) -> str:
    run = f"sys.argv = ['allclear', *{words!r}]\ntry:\n    main()\nexcept SystemExit:\n    pass"
    return f"import sys\nfrom recovery.cli import main\n{run}"


def test_help_loads_nothing_heavy() -> None:
    """`allclear --help` answers at once, on a machine where Prefect or the database is broken too."""
    assert loaded_by(started("--help"), *HEAVY) == ""


@pytest.mark.parametrize("words", [("audit", "--help"), ("recover", "--help"), ("case", "--help"), ("nonsense",)])
def test_a_command_s_help_and_a_wrong_command_load_nothing_heavy(words: tuple[str, ...]) -> None:
    """Typer itself reads option values with pydantic; nothing else of weight is loaded."""
    assert loaded_by(started(*words), *(m for m in HEAVY if m != "pydantic")) == ""


def test_importing_the_pure_modules_loads_no_framework() -> None:
    modules = ", ".join(sorted(f.removesuffix(".py").replace("/", ".") for f in PURE))
    heavy = [m for m in HEAVY if m != "dateutil"]
    assert loaded_by(f"import sys\nimport {modules}", *heavy, "typer", "rich", "asyncio") == ""


# ---- what is never written ------------------------------------------------------------------------------------------


def test_nothing_is_patched_with_mocks() -> None:
    """The transport and the ports are the seams."""
    mocks = ("unittest.mock", "mock", "pytest_mock")
    using = {
        name_of(path)
        for path in python_files(*PRODUCT, "bench", "tests")
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Import) and any(a.name.startswith(mocks) for a in node.names))
        or (isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith(mocks))
        or (isinstance(node, ast.ImportFrom) and node.module == "unittest")
        or (isinstance(node, ast.arg) and node.arg == "mocker")
    }
    assert using == set()


def test_product_files_stay_short() -> None:
    lengths = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in python_files(*PRODUCT)}
    too_long = {f: n for f, n in lengths.items() if n > LONG_FILES.get(f, (LONGEST, ""))[0]}
    assert too_long == {}


def test_the_table_of_long_files_only_shrinks() -> None:
    """A file that fits again, or is gone, leaves the table; every row gives its reason."""
    lengths = {f: len((ROOT / f).read_text(encoding="utf-8").splitlines()) for f in LONG_FILES if (ROOT / f).is_file()}
    assert {f for f in LONG_FILES if lengths.get(f, 0) <= LONGEST} == set()
    assert all(reason for _, reason in LONG_FILES.values())
    assert len(LONG_FILES) <= 2


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is the machine's business; the lock file holds names, versions and hashes."""
    assert lines_that_hold(INDEX_WORDS) == []


def test_no_file_names_a_folder_of_somebody_s_machine() -> None:
    assert lines_that_hold(PATH_WORDS) == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    assert lines_that_hold(UNFINISHED) == []


def test_there_is_one_lock_file() -> None:
    names = {name_of(p) for p in tracked()}
    assert not {n for n in names if n.endswith(("uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock"))}
    assert "requirements.lock" in names


def test_every_locked_package_has_a_hash() -> None:
    """An unpinned or unhashed package would let the machine install something that nobody tested."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    rows = [line for line in text.splitlines() if line and not line.startswith((" ", "#", "-"))]
    assert len(rows) > 50
    assert [r[:60] for r in rows if "==" not in r.split(";")[0] or "--hash=sha256:" not in r] == []
