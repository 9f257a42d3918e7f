"""Real servers on disks that are full, that fail, or that have lost the end of what was written."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from system.running import LONGSHORE, Server, wait_for

PROGRAM = Path(__file__).with_name("failing_disk.py")


class Writers:
    """Some who make users all the time. `acknowledged`: those that the server said it has; `faults`: what else it said."""

    def __init__(self, server: Server, count: int = 4) -> None:
        self.acknowledged: set[str] = set()
        self.faults: list[tuple[int, str]] = []  # status, code
        self.gone = 0  # without an answer
        self._numbers = itertools.count(1)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(server.client("iam"),)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, iam: Any) -> None:
        while not self._is_over.is_set():
            name = f"user-{next(self._numbers)}"
            try:
                iam.create_user(UserName=name, Tags=[{"Key": "ballast", "Value": "x" * 200}])
            except ClientError as error:
                answer = error.response
                self.faults.append((answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]))
                time.sleep(0.02)
            except BotoCoreError:
                self.gone += 1
                time.sleep(0.05)
            else:
                self.acknowledged.add(name)

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)


def users(server: Server) -> set[str]:
    pages = server.client("iam").get_paginator("list_users").paginate(PaginationConfig={"PageSize": 1000})
    return {each["UserName"] for page in pages for each in page["Users"]}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server whose state folder is a disk of its own, of 24 MiB; and the folder as this process can reach it."""
    if os.geteuid() != 0:
        pytest.skip("a disk of its own needs root")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    mounted = 'mount -t tmpfs -o size=24m,mode=700 longshore-test "$0" && exec "$@"'
    server = Server(state, before=("unshare", "--mount", "sh", "-c", mounted, str(state)))
    try:
        yield server, Path(f"/proc/{server.process.pid}/root{state}")
    finally:
        if server.process.poll() is None:
            server.end()


def test_a_full_disk_refuses_and_loses_nothing_and_goes_on_when_there_is_room(small: tuple[Server, Path]) -> None:
    server, folder = small
    writers = Writers(server)
    try:
        wait_for(lambda: len(writers.acknowledged) > 50)
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        wait_for(lambda: len(writers.faults) > 20, 60)
        assert server.process.poll() is None
        # What is read is answered, whatever can't be written.
        assert users(server) >= set(writers.acknowledged)
        before = len(writers.acknowledged)
        ballast.unlink()
        wait_for(lambda: len(writers.acknowledged) > before + 50)
    finally:
        writers.end()
    assert {status for status, _ in writers.faults} <= {500, 503} and not writers.gone, writers.faults
    found = users(server)
    assert found >= writers.acknowledged
    # And it is on the disk: the next server has it. The disk lives as long as somebody is in it, so this process copies it.
    kept = server.state.parent / "kept"
    server.process.send_signal(signal.SIGSTOP)
    shutil.copytree(folder, kept)
    server.kill()
    again = Server(kept)
    assert users(again) >= writers.acknowledged
    assert again.end() == 0


def test_a_disk_that_fails_to_sync_ends_the_server_with_a_clear_word_and_loses_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    server = _on_a_failing_disk(state)
    writers = Writers(server)
    try:
        wait_for(lambda: len(writers.acknowledged) > 50)
        server.process.send_signal(signal.SIGUSR1)
        assert server.process.wait(20) == 1
    finally:
        writers.end()
        server._close()
    assert writers.faults and {status for status, _ in writers.faults} <= {500, 503}, writers.faults
    said = server.log()
    assert (
        "longshore: the disk failed under the database: disk I/O error; nothing that was acknowledged is lost" in said
    )
    assert "SQLITE_IOERR_FSYNC" in said
    again = Server(state)
    assert users(again) >= writers.acknowledged
    assert again.end() == 0


def _on_a_failing_disk(state: Path) -> Server:
    kept = LONGSHORE[1:]
    try:
        LONGSHORE[1:] = [str(PROGRAM)]
        return Server(state)
    finally:
        LONGSHORE[1:] = kept


def test_a_log_that_lost_its_end_is_refused_by_the_next_server_which_says_what_to_do(tmp_path: Path) -> None:
    """What a disk that lies, or a copy that was made carelessly, leaves of a killed server."""
    server = Server(tmp_path / "state")
    writers = Writers(server)
    try:
        wait_for(lambda: len(writers.acknowledged) > 50)
        server.kill()
    finally:
        writers.end()
    log = server.state / "longshore.db-wal"
    whole = log.read_bytes()
    for torn in (whole[: -3 * 4120], whole[:-20000] + bytes(20000)):  # More ways: tests/store/test_witness.py.
        log.write_bytes(torn)
        with pytest.raises(AssertionError, match=r"the write-ahead log of the database .* is cut or damaged"):
            Server(server.state)
        assert log.read_bytes() == torn
    log.write_bytes(whole)
    again = Server(server.state)
    assert users(again) >= writers.acknowledged
    assert again.end() == 0
    assert not (server.state / "longshore.db-witness").exists()
