"""What the agent keeps, whatever ends it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longshore.agent.shelf import JournalShelf, MemoryShelf, Shelf

names = st.sampled_from(["a/1", "a/2", "b/1", "tasks/x y", "ü/1"])
changes = st.lists(st.tuples(names, st.binary(max_size=40) | st.just(b"x 3\nabc\n") | st.none()), max_size=30)


def contents(shelf: Shelf) -> dict[str, bytes | None]:
    return {name: shelf.get(name) for folder in ("a", "b", "tasks", "ü") for name in shelf.names(folder)}


def apply(shelf: Shelf, found: list[tuple[str, bytes | None]]) -> None:
    for name, document in found:
        if document is None:
            shelf.remove(name)
        else:
            shelf.put(name, document)


def test_a_shelf_gives_back_what_was_put_on_it(tmp_path: Path) -> None:
    shelf = JournalShelf(tmp_path / "data")
    shelf.put("states/t1", b"one")
    shelf.put("states/t1", b"two")
    assert (shelf.get("states/t1"), shelf.get("states/t2")) == (b"two", None)
    assert (shelf.names("states"), shelf.names("tasks")) == (["states/t1"], [])
    assert (tmp_path / "data/journal").stat().st_mode & 0o077 == 0
    shelf.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes, changes)
def test_the_next_agent_finds_what_the_last_one_left(
    tmp_path: Path, before: list[tuple[str, bytes | None]], after: list[tuple[str, bytes | None]]
) -> None:
    (tmp_path / "journal").unlink(missing_ok=True)
    expected = MemoryShelf()
    for part in (before, after):
        shelf = JournalShelf(tmp_path)
        assert contents(shelf) == contents(expected)
        apply(shelf, part)
        apply(expected, part)
        shelf.close()
    last = JournalShelf(tmp_path)
    assert contents(last) == contents(expected)
    last.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes, st.data())
def test_a_record_that_was_cut_short_counts_for_nothing(
    tmp_path: Path, found: list[tuple[str, bytes | None]], data: st.DataObject
) -> None:
    (tmp_path / "journal").unlink(missing_ok=True)
    shelf = JournalShelf(tmp_path)
    expected = MemoryShelf()
    apply(shelf, found)
    apply(expected, found)
    size = (tmp_path / "journal").stat().st_size
    shelf.put("a/1", b"never\nwhole")
    shelf.close()
    with (tmp_path / "journal").open("r+b") as file:
        file.truncate(data.draw(st.integers(size, file.seek(0, 2) - 1)))
    for _ in range(2):
        again = JournalShelf(tmp_path)
        assert contents(again) == contents(expected)
        again.close()


def test_the_journal_does_not_grow_without_end(tmp_path: Path) -> None:
    shelf = JournalShelf(tmp_path)
    for number in range(20_000):
        shelf.put("states/t1", b"x" * 1000)
        shelf.put(f"tasks/{number}", b"y")
        shelf.remove(f"tasks/{number}")
    assert (tmp_path / "journal").stat().st_size < 5 * 1024 * 1024
    shelf.close()
    again = JournalShelf(tmp_path)
    assert contents(again) == {}
    assert again.get("states/t1") == b"x" * 1000
    again.close()
