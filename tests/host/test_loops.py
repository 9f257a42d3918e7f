"""What is said of a disk by its numbers, on a tree of files; real disks are in tests/supervisor."""

from __future__ import annotations

from pathlib import Path

import pytest

from longshore.host import loops


def kernel(root: Path, *files: str) -> Path:
    folder = root / "class/bdi/7:3"
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()
    return folder


def test_little_of_what_is_written_waits_and_then_again_what_the_kernel_lets(tmp_path: Path) -> None:
    folder = kernel(tmp_path, "max_bytes", "max_ratio", "strict_limit")
    loops.bound_waiting("7:3", sys=str(tmp_path))
    assert (folder / "max_bytes").read_text() == str(64 * 2**20)
    assert (folder / "strict_limit").read_text() == "1" and (folder / "max_ratio").read_text() == ""
    loops.unbound_waiting("7:3", sys=str(tmp_path))
    assert (folder / "strict_limit").read_text() == "0" and (folder / "max_ratio").read_text() == "100"


def test_a_kernel_that_counts_in_hundredths_alone_is_told_so(tmp_path: Path) -> None:
    folder = kernel(tmp_path, "max_ratio", "strict_limit")
    loops.bound_waiting("7:3", sys=str(tmp_path))
    assert {each.name: each.read_text() for each in folder.iterdir()} == {"max_ratio": "1", "strict_limit": "1"}


def test_a_kernel_before_6_2_has_no_strict_limit(tmp_path: Path) -> None:
    folder = kernel(tmp_path, "max_ratio")
    loops.bound_waiting("7:3", sys=str(tmp_path))
    assert (folder / "max_ratio").read_text() == "1"
    loops.unbound_waiting("7:3", sys=str(tmp_path))
    assert {each.name: each.read_text() for each in folder.iterdir()} == {"max_ratio": "100"}


@pytest.mark.parametrize(
    "files", [("max_bytes", "max_ratio", "strict_limit"), ("max_ratio", "strict_limit"), ("max_ratio",)]
)
def test_of_which_disks_something_was_said_is_known_until_it_is_taken_back(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    kernel(tmp_path, *files)
    assert loops.bound_disks(sys=str(tmp_path)) == []
    loops.bound_waiting("7:3", sys=str(tmp_path))
    assert loops.bound_disks(sys=str(tmp_path)) == ["7:3"]
    loops.unbound_waiting("7:3", sys=str(tmp_path))
    assert loops.bound_disks(sys=str(tmp_path)) == []


def test_where_there_is_no_such_setting_none_is_made(tmp_path: Path) -> None:
    folder = kernel(tmp_path)
    with pytest.raises(FileNotFoundError):
        loops.bound_waiting("7:3", sys=str(tmp_path))
    assert list(folder.iterdir()) == []


def test_the_file_of_a_disk_is_told_also_when_it_has_no_name_any_more(tmp_path: Path) -> None:
    assert loops.file_of("7:3", sys=str(tmp_path)) is None
    folder = tmp_path / "dev/block/7:3/loop"
    folder.mkdir(parents=True)
    for text, expected in (("/state/disk\n", "/state/disk"), ("/state/disk (deleted)\n", "/state/disk"), ("\n", None)):
        (folder / "backing_file").write_text(text)
        assert loops.file_of("7:3", sys=str(tmp_path)) == expected
