from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from longshore.host.processes import Process, boot_id, started_at


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    async def run() -> None:
        program = subprocess.Popen(["sleep", "100"])
        start = started_at(program.pid)
        assert start is not None and start == started_at(program.pid)
        assert Process.find(program.pid, start + 1) is None  # The number is another's by now.
        found = Process.find(program.pid, start)
        assert found is not None and not found.exited.is_set()
        found.kill()
        async with asyncio.timeout(10):
            await found.exited.wait()
        found.kill()
        found.forget()
        program.wait()
        assert started_at(program.pid) is None
        assert Process.find(program.pid) is None

    asyncio.run(run())


def test_one_that_has_ended_and_waits_to_be_buried_is_gone() -> None:
    async def run() -> None:
        program = subprocess.Popen([sys.executable, "-c", "pass"])
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        assert started_at(program.pid) is None
        assert Process.find(program.pid) is None
        program.wait()

    asyncio.run(run())


def test_a_name_with_blanks_and_parentheses_changes_nothing() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", "open('/proc/self/comm', 'w').write(') R 1 2 ('); print('named', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        assert program.stdout is not None and program.stdout.readline() == b"named\n"
        start, own = started_at(program.pid), started_at(os.getpid())
        assert start is not None and own is not None and start >= own
        program.communicate(b"\n")


def test_the_boot_is_the_same_all_day() -> None:
    assert boot_id() == boot_id() and len(boot_id()) == 36
