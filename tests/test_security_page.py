"""docs/security.md names a test for each claim: each of them exists, and with the case that is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "security.md"
# `test_name`, `test_name[case]`, `[case]` after one of those, or a file.
_NAMED = re.compile(r"`((?:tests/)?[\w/]*test_\w+\.py|test_\w+(?:\[[^\]`]+\])?|\[[^\]`]+\])`")
_SOURCES = {path: path.read_text() for path in (CHECKOUT / "tests").rglob("test_*.py")}
_FUNCTIONS = {
    node.name: path
    for path, text in _SOURCES.items()
    for node in ast.walk(ast.parse(text))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
}


def missing(page: str) -> list[str]:
    """What the page names and is not there."""
    found, source = [], ""
    for name in _NAMED.findall(page):
        test, _, case = name.partition("[")
        if name.endswith(".py"):
            if not any(path == CHECKOUT / name or path.name == name for path in _SOURCES):
                found.append(name)
            continue
        if test and test not in _FUNCTIONS:
            found.append(name)
            continue
        if test:
            source = _SOURCES[_FUNCTIONS[test]]
        if case and f'"{case.rstrip("]")}"' not in source:
            found.append(name)
    return found


def test_every_test_that_the_page_names_exists() -> None:
    page = PAGE.read_text()
    assert len(_NAMED.findall(page)) > 60
    assert missing(page) == []


def test_what_does_not_exist_is_found() -> None:
    page = "`test_every_test_that_the_page_names_exists`, `[not a case]`, `test_no_such_thing`, `tests/test_nowhere.py`"
    assert missing(page) == ["[not a case]", "test_no_such_thing", "tests/test_nowhere.py"]


def test_every_line_of_a_table_of_claims_names_a_test() -> None:
    """Those with a column of that name."""
    tables = re.findall(r"((?:^\|.*\n)+)", PAGE.read_text(), flags=re.MULTILINE)
    claims = [line for table in tables if "test" in table.split("\n")[0] for line in table.strip().split("\n")[2:]]
    assert len(claims) > 30
    assert [line for line in claims if not _NAMED.search(line)] == []
