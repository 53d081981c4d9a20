"""docs/clients.md shows a client, its twin and its tests; they are run as they stand on the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", GUIDE, re.DOTALL))
CLIENT, TWIN, TESTS = "integrations/noticeboard.py", "sandbox/noticeboard.py", "tests/integrations/test_noticeboard.py"


def test_the_guides_client_passes_the_guides_tests_against_the_guides_twin(tmp_path: Path) -> None:
    assert set(FILES) == {CLIENT, TWIN, TESTS}
    names = {"integrations.noticeboard": "guide_client", "sandbox.noticeboard": "guide_twin"}
    for path, name in ((CLIENT, "guide_client"), (TWIN, "guide_twin"), (TESTS, "test_guide")):
        text = FILES[path]
        for shown, here in names.items():
            text = text.replace(shown, here)
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"),
         "--rootdir", str(tmp_path), str(tmp_path / "test_guide.py")],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent), str(tmp_path)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b12 passed", done.stdout) or done.stdout.count(".") >= 12, done.stdout


def test_every_file_that_the_guide_names_is_there() -> None:
    named = set(re.findall(r"`((?:recovery|integrations|sandbox|tests)/[a-z_/]+\.py)`", GUIDE))
    assert len(named) > 10
    assert [n for n in sorted(named) if not (ROOT / n).exists()] == []


def test_every_class_of_reply_that_the_guide_names_exists() -> None:
    from recovery.model import AttemptOutcome

    assert set(re.findall(r"\| `([A-Z_]+)`", GUIDE)) <= {o.name for o in AttemptOutcome}
