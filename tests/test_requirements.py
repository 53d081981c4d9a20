"""docs/requirements.md is complete and says what the tests say."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import requirements_table as table

REWRITE = "run `python -m tests.requirements_table`"


@pytest.fixture(scope="module")
def rows() -> list[table.Row]:
    return table.rows_of(table.PAGE.read_text(encoding="utf-8"))


def test_the_page_lists_every_acceptance_row_and_no_other() -> None:
    assert list(table.read(table.PAGE.read_text(encoding="utf-8"))) == table.expected()


def test_every_row_says_what_it_asks_for(rows: list[table.Row]) -> None:
    assert [r.name for r in rows if not r.words] == []


def test_a_row_without_a_test_says_why(rows: list[table.Row]) -> None:
    assert [r.name for r in rows if not r.proof and not r.reason] == []


def test_the_page_names_the_tests_that_there_are(rows: list[table.Row]) -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.render(rows), REWRITE


def test_no_marker_names_a_row_that_does_not_exist() -> None:
    assert set(table.marked()) - set(table.expected()) == set()


# ---- the reader of markers itself -----------------------------------------------------------------------------------

MARKED = """
import pytest
pytestmark = [pytest.mark.slow, pytest.mark.requirement("E.1")]
CASES = [pytest.param(1, marks=pytest.mark.requirement("E.2"))]

@pytest.mark.requirement("E.3", "E.4")
async def test_one(): ...

class TestMany:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement("E.5"))])
    def test_two(self, x): ...

def test_three(): ...
"""


def test_markers_are_found_on_files_functions_methods_and_cases(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(MARKED)
    found = {row: dict(files) for row, files in table.marked(tmp_path).items()}
    assert found == {
        "E.1": {"test_x.py": {"every test"}},
        "E.2": {"test_x.py": {"its cases"}},
        "E.3": {"test_x.py": {"test_one"}},
        "E.4": {"test_x.py": {"test_one"}},
        "E.5": {"test_x.py": {"test_two"}},
    }


def test_a_marker_that_is_no_plain_name_is_refused(tmp_path: Path) -> None:
    """The page could not be kept from it."""
    (tmp_path / "test_x.py").write_text("import pytest\n@pytest.mark.requirement(*ROWS)\ndef test_x(): ...\n")
    with pytest.raises(ValueError, match=r"test_x\.py:2"):
        table.marked(tmp_path)


def test_rewriting_keeps_the_words_and_drops_the_reason_once_a_test_stands(tmp_path: Path) -> None:
    page = "| E.1 | keep me | open: nobody wrote it |\n| E.2 | me too | open: later |\n"
    (tmp_path / "test_x.py").write_text('import pytest\n@pytest.mark.requirement("E.1")\ndef test_x(): ...\n')
    text = table.render(table.rows_of(page, tmp_path))
    assert "| E.1 | keep me | `test_x.py`: test_x |" in text
    assert "| E.2 | me too | open: later |" in text
