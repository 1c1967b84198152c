"""Bad inputs, a table for each kind: all of them end in one line that names the thing, and change nothing."""

import importlib
from pathlib import Path

import pytest
from case import Case, check

TABLES = sorted(path.stem for path in (Path(__file__).parent / "cases").glob("[a-z]*.py"))
CASES: dict[str, Case] = {
    f"{table}: {case.name}": case for table in TABLES for case in importlib.import_module(f"cases.{table}").CASES
}


def test_names_tell_cases_apart():
    named = [case.name for table in TABLES for case in importlib.import_module(f"cases.{table}").CASES]
    assert len(CASES) == len(named)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_in_one_line_and_changes_nothing_else(name, finished, tmp_path):
    check(CASES[name], finished, tmp_path / "project")
