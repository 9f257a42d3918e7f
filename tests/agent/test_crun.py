"""Containers really run here; see crun_scenarios.py for where."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from crun_scenarios import Machine, busybox_archive, in_a_network_of_its_own, inside_a_namespace, on_v2_alone, why_not
from longshore.agent.runtimes.base import ContainerError, Device, Exit, Mount, Tmpfs, Ulimit
from longshore.host.images import ImageStore


@pytest.fixture(scope="session")
def busybox_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with the one image `busybox`."""
    folder = tmp_path_factory.mktemp("images")
    if why_not() is None:
        ImageStore(folder / "store").import_file("busybox", busybox_archive(folder / "busybox.tar"))
    return folder / "store"


@inside_a_namespace
async def test_a_program_ends_with_its_exit_code_and_all_that_it_wrote(machine: Machine) -> None:
    ended, output = await machine.run(machine.runtime(), machine.shell("echo out; echo err >&2; exit 3"))
    assert (ended, output) == (Exit(exit_code=3), "out\nerr\n")


@inside_a_namespace
async def test_many_at_once_each_have_their_own_end(machine: Machine) -> None:
    runtime = machine.runtime()
    specs = [machine.shell(f"echo {number}; exit {number}") for number in range(12)]
    ends = await asyncio.gather(*(machine.run(runtime, spec) for spec in specs))
    assert ends == [(Exit(exit_code=number), f"{number}\n") for number in range(12)]
    assert await runtime.inspect() == []


@inside_a_namespace
async def test_a_command_that_is_not_there_has_no_exit_code_but_a_reason(machine: Machine) -> None:
    runtime = machine.runtime()
    for command, words in (
        ("/bin/nothere", "`/bin/nothere` not found"),
        ("nothere", "`nothere` not found"),
        ("/etc/passwd", "Permission denied"),
        ("/bin/without-interpreter", "`/bin/without-interpreter`: No such file"),
        ("/bin/not-for-this-machine", "Exec format error"),
    ):
        spec = machine.spec(command)
        await runtime.create(spec)
        for _ in range(2):  # Asked again, it says the same.
            with pytest.raises(
                ContainerError, match=r"^CannotStartContainerError: Error response from daemon: "
            ) as error:
                await runtime.start(spec.container_id)
            assert words in str(error.value)
        assert await runtime.wait(spec.container_id) == Exit(exit_code=None)
        await runtime.remove(spec.container_id)


@inside_a_namespace
async def test_who_takes_more_memory_than_allowed_is_killed_and_the_reason_says_so(machine: Machine) -> None:
    ended, _ = await machine.run(machine.runtime(), machine.shell("x=a; while :; do x=$x$x; done"))
    assert ended == Exit(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage")


@inside_a_namespace
async def test_another_137_is_no_matter_of_memory(machine: Machine) -> None:
    runtime = machine.runtime()
    assert (await machine.run(runtime, machine.shell("exit 137")))[0] == Exit(exit_code=137)
    spec = machine.shell("trap '' TERM; echo up; while :; do sleep 1; done")
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    await runtime.stop(spec.container_id, 0.1)
    assert await runtime.wait(spec.container_id) == Exit(exit_code=137)


@inside_a_namespace
async def test_a_small_container_has_its_memory_for_itself(machine: Machine) -> None:
    ended, output = await machine.run(machine.runtime(), machine.shell("echo fine", memory_mib=6))
    assert (ended, output) == (Exit(exit_code=0), "fine\n")


@inside_a_namespace
async def test_a_stop_is_a_request_first(machine: Machine) -> None:
    runtime = machine.runtime()
    spec = machine.shell("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.01; done")
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    logs = runtime.logs(spec.container_id, 0)
    assert (await anext(logs)).data == b"up\n"
    await runtime.stop(spec.container_id, 20)
    assert await runtime.wait(spec.container_id) == Exit(exit_code=9)
    assert [chunk.data async for chunk in logs] == [b"bye\n"]
    await runtime.stop(spec.container_id, 20)  # It has ended: nothing to do.


@inside_a_namespace
async def test_a_start_that_hangs_can_be_given_up(machine: Machine) -> None:
    """crun stands still before it has made the container."""
    runtime = machine.runtime()
    spec = machine.shell("echo never")
    await runtime.create(spec)
    runtime._crun = str(machine.folder / "crun")
    Path(runtime._crun).write_text("#!/bin/sh\nexec sleep 1000\n")
    Path(runtime._crun).chmod(0o755)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await runtime.start(spec.container_id)
    await runtime.stop(spec.container_id, 0)
    assert (await runtime.wait(spec.container_id)).exit_code is None
    await runtime.remove(spec.container_id)


@inside_a_namespace
async def test_verbs_may_be_repeated_and_what_is_not_there_is_no_trouble(machine: Machine) -> None:
    runtime = machine.runtime()
    spec = machine.shell("echo once")
    assert await runtime.create(spec) == await runtime.create(spec)
    await runtime.stop(spec.container_id, 0)  # It does not run yet.
    for _ in range(3):
        await runtime.start(spec.container_id)
    assert await machine.output(runtime, spec.container_id) == "once\n"
    assert await machine.output(runtime, spec.container_id, after=2) == "ce\n"
    await runtime.start(spec.container_id)
    assert await machine.output(runtime, spec.container_id) == "once\n"
    assert await runtime.inspect() == [spec.container_id]
    for _ in range(2):
        await runtime.remove(spec.container_id)
    assert await runtime.inspect() == []
    assert await runtime.wait(spec.container_id) == Exit(exit_code=None)
    assert [chunk async for chunk in runtime.logs(spec.container_id, 0)] == []
    await runtime.stop(spec.container_id, 1)
    await runtime.remove("../../etc")
    with pytest.raises(ContainerError, match="No such container"):
        await runtime.start(spec.container_id)


@inside_a_namespace
async def test_a_running_container_is_ended_by_its_removal(machine: Machine) -> None:
    runtime = machine.runtime()
    spec = machine.spec("sleep", "100")
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    waiting = asyncio.ensure_future(runtime.wait(spec.container_id))
    await runtime.remove(spec.container_id)
    assert (await waiting).exit_code in (137, None)
    assert await runtime.inspect() == []


# The agent dies; containers go on.


@inside_a_namespace
async def test_a_container_outlives_its_agent_and_no_byte_is_lost_or_doubled(machine: Machine) -> None:
    first = machine.runtime()
    spec = machine.shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; read x </gate; exit 4",
                         mounts=(Mount(destination="/gate", source=str(machine.folder / "gate")),))  # fmt: skip
    os.mkfifo(machine.folder / "gate")
    await first.create(spec)
    await first.start(spec.container_id)
    logs = first.logs(spec.container_id, 0)
    early = await anext(logs)
    first.close()
    (machine.folder / "gate").open("w").close()  # It ends while there is no agent.
    while (machine.root / "run" / "pids" / spec.container_id).exists() and not _exit_file(machine, spec).exists():
        await asyncio.sleep(0.01)
    second = machine.runtime()
    assert await second.inspect() == [spec.container_id]
    await second.start(spec.container_id)  # At most once.
    assert await second.wait(spec.container_id) == Exit(exit_code=4)
    text = early.data.decode() + await machine.output(second, spec.container_id, early.end)
    assert text == "".join(f"line {number}\n" for number in range(3000))


def _exit_file(machine: Machine, spec: object) -> Path:
    return machine.root / "run" / "containers" / spec.container_id / "exit"  # type: ignore[attr-defined]


@inside_a_namespace
async def test_more_than_a_pipe_holds_waits_for_the_next_agent(machine: Machine) -> None:
    first = machine.runtime()
    spec = machine.shell("seq 1 60000; exit 5")
    await first.create(spec)
    await first.start(spec.container_id)
    first.close()
    second = machine.runtime()
    ended = asyncio.ensure_future(second.wait(spec.container_id))
    assert await machine.output(second, spec.container_id) == "".join(f"{number}\n" for number in range(1, 60001))
    assert await ended == Exit(exit_code=5)


@inside_a_namespace
async def test_one_that_was_created_is_started_by_the_next_agent(machine: Machine) -> None:
    first = machine.runtime()
    spec = machine.shell("echo here")
    await first.create(spec)
    first.close()
    second = machine.runtime()
    await second.start(spec.container_id)
    assert await machine.output(second, spec.container_id) == "here\n"


@inside_a_namespace
async def test_two_agents_that_start_the_same_container_start_it_once(machine: Machine) -> None:
    """The first died after it had started the holder and before that had claimed the container, as far as the second knows."""
    from longshore.agent.runtimes import holder

    runtime = machine.runtime()
    spec = machine.shell("echo ran; sleep 0.2")
    await runtime.create(spec)
    container = runtime._get(spec.container_id)
    real = holder.spawn

    def twice(*arguments: object, **more: object) -> int:
        os.waitpid(real(*arguments, **more), os.WNOHANG)
        return real(*arguments, **more)

    holder.spawn = twice  # type: ignore[assignment]
    await runtime.start(spec.container_id)
    holder.spawn = real
    assert await machine.output(runtime, spec.container_id) == "ran\n"
    assert await runtime.wait(spec.container_id) == Exit(exit_code=0)
    assert container is runtime._get(spec.container_id)


@inside_a_namespace
async def test_an_end_that_nobody_saw_is_an_end_without_a_code(machine: Machine) -> None:
    runtime = machine.runtime()
    spec = machine.spec("sleep", "100")
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    folder = machine.root / "run" / "containers" / spec.container_id
    os.kill(int((folder / "claim").read_text()), signal.SIGKILL)
    await runtime.stop(spec.container_id, 0)
    assert await runtime.wait(spec.container_id) == Exit(exit_code=None)


@inside_a_namespace
async def test_a_half_made_container_is_swept_away_and_can_be_made_again(machine: Machine) -> None:
    first = machine.runtime()
    spec = machine.shell("echo whole")
    await first.create(spec)
    first.close()
    (machine.root / "run" / "containers" / spec.container_id / "config.json").unlink()
    second = machine.runtime()
    assert await second.inspect() == []
    assert (await machine.run(second, spec))[1] == "whole\n"


@inside_a_namespace
async def test_agents_that_are_killed_at_any_moment_start_nothing_twice_and_lose_no_end(machine: Machine) -> None:
    """Twelve containers under a row of agents that each live for some milliseconds only, from a seed."""
    seed = 20261124
    moments = random.Random(seed)
    started = machine.folder / "started"
    started.touch()
    mount = Mount(destination="/started", source=str(started))
    specs = [
        machine.shell(f"echo {number} >>/started; echo said {number}; sleep 0.1; exit {number}", mounts=(mount,))
        for number in range(12)
    ]
    ends: dict[int, int | None] = {}
    lives = 0
    while len(ends) < len(specs):
        lives += 1
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _live(machine, specs, [number for number in range(12) if number not in ends], writer)
        os.close(writer)
        # Longer with each life, so that a slow machine comes to an end as well.
        await asyncio.sleep(moments.uniform(0.005, 0.03 + lives * 0.01))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with open(reader) as told:
            for line in told.read().splitlines():
                number, code = line.split()
                ends[int(number)] = int(code)
    assert lives > 2, f"seed {seed}"
    assert ends == {number: number for number in range(12)}, f"seed {seed}"
    assert sorted(map(int, started.read_text().split())) == list(range(12)), f"seed {seed}"
    # Nothing was removed, so that each has to be found as it was left.
    last = machine.runtime()
    assert await last.inspect() == sorted(spec.container_id for spec in specs)
    for number, spec in enumerate(specs):
        assert await last.wait(spec.container_id) == Exit(exit_code=number)
        assert await machine.output(last, spec.container_id) == f"said {number}\n"


def _live(machine: Machine, specs: list[Any], numbers: list[int], writer: int) -> NoReturn:
    """An agent's whole life, in a process of its own: it asks for everything that has not ended yet, and tells of each end."""

    async def one(runtime: Any, number: int) -> None:
        spec = specs[number]
        await runtime.create(spec)
        await runtime.start(spec.container_id)
        ended = await runtime.wait(spec.container_id)
        os.write(writer, f"{number} {ended.exit_code}\n".encode())

    async def everything() -> None:
        runtime = machine.runtime()
        await asyncio.gather(*(one(runtime, number) for number in numbers))
        await asyncio.Event().wait()

    status = 1
    try:
        # The loop that forked is not this process's.
        asyncio.events._set_running_loop(None)
        loop = asyncio.SelectorEventLoop()
        loop.run_until_complete(everything())
    finally:
        os._exit(status)


@on_v2_alone
async def test_where_control_groups_are_v2_alone_containers_run_too(machine: Machine) -> None:
    """On a hybrid host without any limits, since the controllers are v1's there."""
    from longshore.host.cgroups import Hierarchy

    assert Hierarchy.of_this_process().version == 2
    runtime = machine.runtime()
    has_memory = "memory" in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    limit = 64 if has_memory else None
    spec = machine.shell("grep ^0: /proc/self/cgroup; mknod /dev/disk b 8 0; echo ready; sleep 100", memory_mib=limit)
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    # The holder, crun, and at least the container's program.
    assert len(Hierarchy.of_this_process().processes(f"{machine.group}/{spec.container_id}")) >= 3
    logs, output = runtime.logs(spec.container_id, 0), b""
    while b"ready" not in output:
        output += (await anext(logs)).data
    assert output == b"0::/\nmknod: /dev/disk: Operation not permitted\nready\n"
    await runtime.stop(spec.container_id, 0)
    assert await runtime.wait(spec.container_id) == Exit(exit_code=137)
    if has_memory:
        ended, _ = await machine.run(runtime, machine.shell("x=a; while :; do x=$x$x; done"))
        assert ended == Exit(exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage")
    else:
        with pytest.raises(ContainerError, match=r"memory.max of .* can't be set to 67108864"):
            await runtime.create(machine.shell("true"))


# Output.


@inside_a_namespace
async def test_a_line_comes_as_soon_as_it_is_written(machine: Machine) -> None:
    runtime = machine.runtime()
    spec = machine.shell("while read line; do echo got $line; done <>/gate",
                         mounts=(Mount(destination="/gate", source=str(machine.folder / "gate")),))  # fmt: skip
    os.mkfifo(machine.folder / "gate")
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    logs = runtime.logs(spec.container_id, 0)
    gate = os.open(machine.folder / "gate", os.O_WRONLY)
    delays = []
    for number in range(20):
        began = time.perf_counter()
        os.write(gate, f"{number}\n".encode())
        assert (await anext(logs)).data == f"got {number}\n".encode()
        delays.append(time.perf_counter() - began)
    os.close(gate)
    assert sorted(delays)[10] < 0.05


@inside_a_namespace
async def test_a_flood_waits_until_it_is_read_and_takes_little_disk(machine: Machine) -> None:
    runtime = machine.runtime()
    spec = machine.shell("dd if=/dev/zero bs=1M count=100 2>/dev/null; echo end")
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    spool = machine.root / "layers" / runtime._get(spec.container_id).record.layer / "output"
    while not spool.exists() or spool.stat().st_size < 8 << 20:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert spool.stat().st_size <= 10 << 20  # It stands still.
    total, tail = 0, b""
    async for chunk in runtime.logs(spec.container_id, 0):
        total, tail = total + len(chunk.data), chunk.data[-4:]
        assert chunk.end == total
        assert spool.stat().st_blocks * 512 <= 24 << 20
    assert (total, tail) == ((100 << 20) + 4, b"end\n")


@inside_a_namespace
async def test_what_nobody_wants_to_read_is_thrown_away(machine: Machine) -> None:
    runtime = machine.runtime()
    ended, output = await machine.run(runtime, machine.shell("seq 1 200000; exit 2", is_logged=False))
    assert (ended, output) == (Exit(exit_code=2), "")


# What is asked for is what the container finds.


@inside_a_namespace
async def test_environment_directory_host_name_and_user(machine: Machine) -> None:
    spec = machine.shell(
        'echo $GREETING $HOME $HOSTNAME; id -u; id -g; id -G; pwd; hostname; cat /etc/hostname; grep db /etc/hosts; '
        "cat /etc/resolv.conf",
        environment={"GREETING": "hello"},
        user="worker",
        working_directory="/home/worker/new",
        hostname="job-1",
        extra_hosts=(("db", "10.0.0.9"),),
        dns_servers=("10.0.0.2",),
        dns_search=("example.internal",),
    )  # fmt: skip
    ended, output = await machine.run(machine.runtime(), spec)
    assert ended.exit_code == 0
    lines = output.splitlines()
    assert lines[:8] == [
        "hello /home/worker job-1", "1000", "1001", "1001 50", "/home/worker/new", "job-1", "job-1", "10.0.0.9\tdb",
    ]  # fmt: skip
    assert lines[-2:] == ["search example.internal", "nameserver 10.0.0.2"]


@inside_a_namespace
async def test_a_read_only_root_and_what_is_writable_in_it(machine: Machine) -> None:
    spec = machine.shell(
        "touch /new 2>/dev/null && echo root; touch /scratch/x && echo tmpfs; touch /dev/shm/x && echo shm; "
        "df -m /scratch /dev/shm | tail -n 2 | while read a b c; do echo $b; done",
        is_root_read_only=True,
        tmpfs=(Tmpfs(destination="/scratch", size_mib=16, options=("mode=1777",)),),
        shm_mib=32,
    )
    assert (await machine.run(machine.runtime(), spec))[1] == "tmpfs\nshm\n16\n32\n"


@inside_a_namespace
async def test_paths_of_the_instance_are_made_and_shared(machine: Machine) -> None:
    runtime = machine.runtime()
    place = machine.folder / "data" / "deep"
    mount = Mount(destination="/data", source=str(place))
    assert (await machine.run(runtime, machine.shell("echo kept >/data/file", mounts=(mount,))))[0] == Exit(exit_code=0)
    assert (place / "file").read_text() == "kept\n"
    read_only = Mount(destination="/data", source=str(place), is_read_only=True)
    spec = machine.shell("cat /data/file; touch /data/more 2>/dev/null || echo refused", mounts=(read_only,))
    assert (await machine.run(runtime, spec))[1] == "kept\nrefused\n"


@inside_a_namespace
async def test_a_fresh_volume_is_the_tasks_and_goes_with_its_last_container(machine: Machine) -> None:
    runtime = machine.runtime()
    volume = (Mount(destination="/scratch", volume="work"),)
    one = machine.shell("echo from one >/scratch/x", mounts=volume, task_id="t", container_id="t-one")
    two = machine.shell("cat /scratch/x; stat -c %a /scratch", mounts=volume, task_id="t", container_id="t-two")
    other = machine.shell("ls /scratch", mounts=volume, task_id="u", container_id="u-one")
    for spec in (one, two, other):
        await runtime.create(spec)
    for spec, expected in ((one, ""), (two, "from one\n1777\n"), (other, "")):
        await runtime.start(spec.container_id)
        await runtime.wait(spec.container_id)
        assert await machine.output(runtime, spec.container_id) == expected
    await runtime.remove("t-one")
    assert len(list((machine.root / "volumes").iterdir())) == 2
    await runtime.remove("t-two")
    await runtime.remove("u-one")
    assert list((machine.root / "volumes").iterdir()) == []


@inside_a_namespace
async def test_a_layer_serves_again_only_if_its_container_has_left_no_trace(machine: Machine) -> None:
    runtime = machine.runtime()
    look = "ls -A / | wc -l; stat -c '%a %u' / /etc/hosts /etc/hostname; cat /etc/hosts; ls -A /scratch /home/worker"

    async def layer_after(script: str, **more: Any) -> str:
        spec = machine.shell(script, hostname="same", **more)
        await runtime.create(spec)
        name = runtime._get(spec.container_id).record.layer
        await runtime.start(spec.container_id)
        assert await runtime.wait(spec.container_id) == Exit(exit_code=0)
        await runtime.remove(spec.container_id)
        return name

    _, fresh = await machine.run(runtime, machine.shell(look, hostname="same"))
    untouched = await layer_after("cat /etc/passwd; echo output; touch /dev/shm/x")
    assert await layer_after("true") == untouched
    for touched in (
        "touch /new",
        "touch /new; rm /new",
        "rm /etc/group",
        "echo x >>/etc/passwd",
        "echo 10.9.9.9 other >>/etc/hosts",
        "chmod 600 /etc/hosts",
        "chmod 711 /",
        "mkdir /scratch/deep",
        "touch /home/worker",
    ):
        used = await layer_after(touched)
        assert await layer_after("true") != used, touched
        assert (await machine.run(runtime, machine.shell(look, hostname="same")))[1] == fresh, touched
    # With other contents of its own files it serves all the same.
    name = await layer_after("true")
    assert await layer_after("grep -q 10.1.1.1 /etc/hosts", extra_hosts=(("db", "10.1.1.1"),)) == name
    assert (await machine.run(runtime, machine.shell(look, hostname="same")))[1] == fresh


@inside_a_namespace
async def test_limits_of_files_memory_and_processes(machine: Machine) -> None:
    runtime = machine.runtime(pids_max=20)
    limits = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"  # v1, v2
    files = (Ulimit(name="nofile", soft=100, hard=200),)
    spec = machine.shell(f"ulimit -n; ulimit -Hn; cat {limits} 2>/dev/null", ulimits=files)
    assert (await machine.run(runtime, spec))[1] == f"100\n200\n{64 << 20}\n"
    bomb = machine.shell("i=0; while [ $i -lt 50 ]; do sleep 5 & i=$((i+1)); done; echo more than allowed")
    _, output = await machine.run(runtime, bomb)
    assert "can't fork" in output and "more than allowed" not in output


@inside_a_namespace
async def test_with_an_init_orphans_are_buried_and_signals_handed_on(machine: Machine) -> None:
    runtime = machine.runtime()
    spec = machine.shell("trap 'exit 7' TERM; echo $$; while :; do sleep 0.01; done", has_init=True)
    await runtime.create(spec)
    await runtime.start(spec.container_id)
    pid = (await anext(runtime.logs(spec.container_id, 0))).data.decode().strip()
    assert pid.isdecimal() and pid != "1"
    await runtime.stop(spec.container_id, 20)
    ended = await runtime.wait(spec.container_id)
    assert ended == Exit(exit_code=7)
    assert (await machine.run(runtime, machine.shell("exit 6", has_init=True)))[0] == Exit(exit_code=6)


# What a job may not do, root in its container.


@inside_a_namespace
async def test_root_in_a_container_is_kept_inside(machine: Machine) -> None:
    tries = {
        "mount": "mount -t tmpfs none /tmp",
        "disk": "mknod /dev/disk b 8 0",
        "character device": "mknod /dev/memory c 1 1",
        "namespace": "unshare -m true",
        "sysctl": "echo 1 >/proc/sys/kernel/panic",
        "sysrq": "echo h >/proc/sysrq-trigger",
        "control group": "echo max >/sys/fs/cgroup/pids/pids.max",
        "hostname": "hostname other",
        "kernel memory": "head -c 1 /proc/kcore | grep .",
        "keys": "cat /proc/keys | grep .",
        "firmware": "ls /sys/firmware | grep .",
        "other processes": "ls -d /proc/[0-9]* | grep -v -e '/1$' -e '/[0-9]$' -e '/[0-9][0-9]$'",
        "agent's files": f"ls {machine.root}",
    }
    script = "\n".join(f'if ({attempt}) >/dev/null 2>&1; then echo "{name}"; fi' for name, attempt in tries.items())
    spec = machine.shell(
        f"{script}\ngrep -e NoNewPrivs -e '^Seccomp:' -e CapBnd /proc/self/status\n"
        # By the shell itself: its three, and the folder that it looks at.
        "set -- /proc/1/fd/*; echo $#"
    )
    _, output = await machine.run(machine.runtime(), spec)
    lines = [line.split() for line in output.splitlines()]
    assert lines == [["CapBnd:", "00000000a80425fb"], ["NoNewPrivs:", "1"], ["Seccomp:", "2"], ["4"]]


@inside_a_namespace
async def test_another_user_has_no_capabilities(machine: Machine) -> None:
    _, output = await machine.run(machine.runtime(), machine.shell("grep CapEff /proc/self/status", user="1234:1234"))
    assert output.split() == ["CapEff:", "0000000000000000"]


@inside_a_namespace
async def test_without_a_network_there_is_only_the_loopback(machine: Machine) -> None:
    _, output = await machine.run(machine.runtime(), machine.shell("ls /sys/class/net", network_mode="none"))
    assert output == "lo\n"


@in_a_network_of_its_own
async def test_behind_the_bridge_a_container_has_an_address_of_its_own_and_reaches_the_instance(
    machine: Machine,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        peer = writer.get_extra_info("peername")[0]
        writer.write(f"HTTP/1.0 200 OK\r\n\r\nfrom {peer}\n".encode())
        await writer.drain()
        writer.close()

    for command in ("addr add 169.254.170.2/32 dev lo", "link add eth0 type veth peer name far"):
        subprocess.run(["ip", *command.split()], check=True)
    for command in ("addr add 172.31.0.5/20 dev eth0", "link set eth0 up", "route add default dev eth0"):
        subprocess.run(["ip", *command.split()], check=True)
    offered = await asyncio.start_server(answer, "169.254.170.2", 80)
    private = await asyncio.start_server(answer, "127.0.0.1", 8080)
    runtime = machine.runtime()
    script = (
        "ip -o -4 addr show eth0 | grep -o '172[0-9./]*' | head -n 1; wget -q -O - http://169.254.170.2/; "
        "wget -q -T 2 -O - http://127.0.0.1:8080/ 2>/dev/null || echo alone; hostname; tail -n 1 /etc/hosts"
    )
    specs = [machine.shell(script, network_mode="bridge", hostname=f"job-{number}") for number in range(2)]
    for spec in specs:
        await runtime.create(spec)
    for number, spec in enumerate(specs):
        await runtime.start(spec.container_id)
        address = f"172.17.0.{2 + number}"
        expected = f"{address}/16\nfrom {address}\nalone\njob-{number}\n{address}\tjob-{number}\n"
        assert await machine.output(runtime, spec.container_id) == expected
    assert "masquerade" in subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    await runtime.remove(specs[0].container_id)
    # Its address and its name are free again; the next agent goes on with what is there.
    second = machine.runtime()
    spec = machine.shell("ip -o -4 addr show eth0 | grep -o '172[0-9./]*' | head -n 1", network_mode="bridge")
    assert (await machine.run(second, spec))[1] == "172.17.0.2/16\n"
    await second.remove(specs[1].container_id)
    assert list(Path("/run/netns").iterdir()) == []
    assert [name for _, name in socket.if_nameindex() if name.startswith("v-")] == []
    offered.close()
    private.close()


@inside_a_namespace
async def test_what_can_not_be_given_is_refused_before_anything_is_made(machine: Machine) -> None:
    runtime = machine.runtime()
    for more, words in (
        ({"image": "not-here"}, "No such image: not-here"),
        ({"is_privileged": True}, "privileged containers are not allowed"),
        ({"user": "nobody-of-that-name"}, "unable to find user nobody-of-that-name"),
        ({"user": "root:no-such-group"}, "unable to find group no-such-group"),
        ({"devices": (Device(source="/dev/mem", destination="/dev/mem"),)}, 'device "/dev/mem" may not be given'),
        ({"devices": (Device(source="/dev/dri/../mem", destination="/dev/x"),)}, "may not be given"),
        ({"devices": (Device(source="/dev/nvidia99", destination="/dev/x"),)}, "no such file or directory"),
        ({"mounts": (Mount(destination="/x", source="/a/../b"),)}, "must be an absolute path"),
        ({"mounts": (Mount(destination="/", source="/srv"),)}, "invalid mount path"),
        ({"mounts": (Mount(destination="/x", source="/etc"),)}, "the host path /etc is not given to jobs"),
        ({"mounts": (Mount(destination="/x", source=str(machine.root)),)}, "is not given to jobs"),
        ({"mounts": (Mount(destination="/x", source="/"),)}, "is not given to jobs"),
        ({"sysctls": {"kernel.panic": "1"}}, "sysctl 'kernel.panic' is not allowed"),
        ({"capabilities_added": ("SYS_NONSENSE",)}, 'invalid capability: "SYS_NONSENSE"'),
        ({"ulimits": (Ulimit(name="nonsense", soft=1, hard=1),)}, "invalid ulimit type: nonsense"),
        ({"container_id": "../escape"}, "is no id of a container"),
        ({"command": ()}, "No command specified"),
    ):
        with pytest.raises(ContainerError, match=r"^CannotCreateContainerError: Error response from daemon: ") as error:
            await runtime.create(machine.spec("true", **{"command": ("true",), **more}))
        assert words in str(error.value)
    assert list((machine.root / "run" / "containers").iterdir()) == []
    assert list((machine.root / "layers").iterdir()) == []


@inside_a_namespace
async def test_a_link_leads_a_job_to_no_other_folder_than_was_looked_at(machine: Machine) -> None:
    runtime = machine.runtime()
    place = machine.folder / "shared" / "place"
    place.mkdir(parents=True)
    (place / "own").touch()
    # Another job has the folder above it writable.
    link = machine.folder / "shared" / "link"
    link.symlink_to("/etc")
    with pytest.raises(ContainerError, match="the host path /etc is not given to jobs"):
        await runtime.create(machine.shell("true", mounts=(Mount(destination="/x", source=str(link)),)))
    spec = machine.shell("ls /x", mounts=(Mount(destination="/x", source=str(place)),))
    await runtime.create(spec)
    place.rename(place.with_name("moved"))
    place.symlink_to("/etc")
    await runtime.start(spec.container_id)
    assert await machine.output(runtime, spec.container_id) == "own\n"
    await runtime.remove(spec.container_id)
    assert list((machine.root / "run" / "fixed").iterdir()) == []
    # One that is left by an agent that died is cleared away by the next.
    left = machine.shell("true", mounts=(Mount(destination="/x", source=str(machine.folder / "shared" / "moved")),))
    await runtime.create(left)
    (machine.root / "run" / "containers" / left.container_id / "config.json").unlink()
    await machine.runtime().inspect()
    assert list((machine.root / "run" / "fixed").iterdir()) == []
    assert (machine.folder / "shared" / "moved" / "own").exists()


@inside_a_namespace
async def test_an_image_that_is_nowhere_is_told_at_once(machine: Machine) -> None:
    runtime = machine.runtime()
    began = time.monotonic()
    # Port 9 of the loopback: nobody answers, and nobody has to be asked where it is.
    with pytest.raises(ContainerError, match=r"^CannotPullContainerError: .*registry can't be reached") as error:
        await runtime.pull("127.0.0.1:9/team/tool:1")
    assert "longshore images import" in str(error.value)
    assert time.monotonic() - began < 6
    with pytest.raises(ContainerError, match=r"^CannotPullContainerError: .*invalid reference format"):
        await runtime.pull("No Such Thing")
    for name in ("busybox", "busybox:latest", "docker.io/library/busybox", "library/busybox:latest"):
        assert (await runtime.pull(name)).digest == (await runtime.pull("busybox")).digest
