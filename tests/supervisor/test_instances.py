"""Instances made of real namespaces."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from longshore.host.supervised import Died
from machines_of_host import inside, needs_root, order, python_inside, supervised, until

pytestmark = needs_root


def test_an_instance_has_a_root_of_its_own(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "hello").write_text("from the host\n")
    (tmp_path / "secret").write_text("not for instances\n")

    async def run() -> None:
        async with supervised(tmp_path / "state", share=(str(shared),)) as here:
            standing = await here.connection.launch(order())
            assert inside(standing, f"ls -A {tmp_path}").split() == ["shared"]
            assert inside(standing, f"cat {shared}/hello; echo back > {shared}/answer") == "from the host\n"
            assert (shared / "answer").read_text() == "back\n"
            # To the host a shared file is as if there were no users of the instance's own.
            assert (shared / "answer").stat().st_uid == 0
            assert inside(standing, f"stat -c %u {shared}/hello {shared}/answer").split() == ["0", "0"]
            assert "No such file" in inside(standing, f"ls {here.state}", check=False)
            assert "No such file" in inside(standing, "cat /etc/shadow", check=False)
            assert inside(standing, "ls /home").split() == ["ec2-user"]
            visible = {Path(path).parts[2] for path in _python_paths_below("/root")}
            assert set(inside(standing, "ls -A /root").split()) == visible
            assert "Read-only file system" in inside(standing, "touch /usr/bin/mine", check=False)
            said = inside(standing, "echo 9000 > /proc/sys/kernel/threads-max", check=False)
            assert "Permission denied" in said or "Read-only file system" in said
            inside(standing, "touch /var/mine /tmp/mine /run/mine /root/mine /etc/mine; test -w /dev/null")
            assert inside(standing, "hostname").strip() == "ip-172-31-0-4.ec2.internal"
            # Its own processes, and no others.
            assert inside(standing, "cat /proc/1/cmdline | tr '\\0' ' '").count("longshore.supervisor.birth") == 1
            assert len(inside(standing, "ls -d /proc/[0-9]*").split()) <= 6

    asyncio.run(run())


def test_the_kernels_devices_and_control_groups_are_out_of_its_reach(tmp_path: Path) -> None:
    disk = os.stat("/").st_dev
    # As user data would: with the capabilities and in the control group that everything in an instance has.
    script = f"""#!/bin/sh
mknod /dev/disk b {os.major(disk)} {os.minor(disk)} && head -c1 /dev/disk | wc -c
echo groups: $(cat /proc/self/cgroup) $(find /sys/fs/cgroup -name release_agent)
grep CapBnd /proc/self/status
echo end of script
"""

    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            made = order(scripts=(script,))
            await here.connection.launch(made)
            text = await here.console_when(made.instance_id, "end of script")
            if not Path("/sys/fs/cgroup/cgroup.controllers").exists():  # v2 knows rules for devices as programs only
                assert "Operation not permitted" in text.splitlines()[0]
            # What is above its own group is not there, the host's release agent least of all.
            groups = next(line for line in text.splitlines() if line.startswith("groups:"))
            assert made.instance_id not in groups and "release_agent" not in groups
            capabilities = int(next(line for line in text.splitlines() if "CapBnd" in line).split()[1], 16)
            assert [number for number in (2, 16, 17, 22, 25, 34) if capabilities >> number & 1] == []

    asyncio.run(run())


def test_a_full_disk_is_full_for_the_instance_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            if (fault := (await here.connection.about()).disk_fault) is not None:
                pytest.skip(f"files can't be disks here: {fault}")
            full, other = order(1, disk_mib=64), order(2, disk_mib=64)
            standing = await here.connection.launch(full)
            neighbour = await here.connection.launch(other)
            for place in ("/var/fill", "/tmp/fill", "/root/fill"):
                said = inside(standing, f"dd if=/dev/zero of={place} bs=1M 2>&1 >/dev/null", check=False)
                assert "No space left on device" in said
            inside(standing, "sync")  # Until then the host has given less room than was written.
            taken = sum(file.stat().st_blocks * 512 for file in here.state.glob("instances/*/disk"))
            assert 50 * 2**20 < taken <= 2 * 64 * 2**20 + 2**20
            # The neighbour and the host write as before, and the full one reads, and has its space again.
            inside(neighbour, "dd if=/dev/zero of=/var/some bs=1M count=20 && sync")
            (here.state / "some").write_bytes(b"x" * 2**20)
            (here.state / "some").unlink()
            assert "ip-" in inside(standing, "cat /etc/hostname; rm /var/fill; echo again >/var/some")
            # Nor is what is outside of /: the kernel's memory has sizes of its own.
            assert "No space left" in inside(standing, "dd if=/dev/zero of=/run/fill bs=1M 2>&1", check=False)
            await here.connection.terminate(full.instance_id)
            used = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
            assert full.instance_id not in used and other.instance_id in used
        used = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
        assert str(here.state) not in used

    asyncio.run(run())


def test_its_control_group_has_the_size_of_its_type(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            standing = await here.connection.launch(order(vcpus=2, memory_mib=300))
            shares = inside(
                standing, "cd /sys/fs/cgroup; cat cpu/cpu.shares cpu.weight 2>/dev/null", check=False
            ).split()
            assert shares in (["2048"], ["79"])
            text = inside(
                standing, "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null", check=False
            )
            assert 300 * 2**20 < int(text) < 600 * 2**20
            assert "/agent" in inside(standing, "cat /proc/1/cgroup")

    asyncio.run(run())


def test_user_data_is_run_by_its_own_program_before_the_agent_starts(tmp_path: Path) -> None:
    scripts = (
        "#!/bin/bash\necho ECS_CLUSTER=mine >> /etc/ecs/ecs.config\necho first; exit 3\n",
        "#!/usr/bin/env python3\nprint('second', 2 + 2)\n",
    )

    async def run() -> None:
        agent = ("/bin/sh", "-c", "cat /etc/ecs/ecs.config; env; exec sleep 1000")
        async with supervised(tmp_path / "state", agent=agent) as here:
            made = order(scripts=scripts, notes=("a note",), environment={"AWS_REGION": "eu-west-1"})
            await here.connection.launch(made)
            text = await here.console_when(made.instance_id, "LONGSHORE_CGROUP")
            lines = text.splitlines()
            said = [
                "a note",
                "first",
                "user data: ended with 3",
                "second 4",
                "ECS_CLUSTER=mine",
                "AWS_REGION=eu-west-1",
            ]
            assert [line for line in lines if line in said] == said
            standing = await here.standing_when(made.instance_id, lambda it: it.agent == "running")
            environment = inside(standing, f"tr '\\0' '\\n' < /proc/{standing.agent_pid}/environ").split()
            assert "LONGSHORE_INSTANCE_MEMORY_MIB=256" in environment
            assert "LONGSHORE_ENDPOINT=http://169.254.169.253:4570" in environment
            assert not [each for each in environment if each.startswith(("AWS_ACCESS", "AWS_SECRET", "SUDO", "PYTEST"))]

    asyncio.run(run())


def test_an_image_without_the_agent_starts_it_only_when_user_data_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            bare, told, by_path, by_name = (
                order(1, starts_agent=False, scripts=("#!/bin/sh\necho done\n",)),
                order(2, starts_agent=False, scripts=("#!/bin/sh\nsystemctl enable --now --no-block ecs\n",)),
                order(3, starts_agent=False, scripts=("#!/bin/sh\n/usr/bin/systemctl start ecs.service\n",)),
                order(4, starts_agent=False, scripts=("#!/bin/sh\nexec longshore agent\n",)),
            )
            for each in (bare, told, by_path, by_name):
                await here.connection.launch(each)
            await here.console_when(bare.instance_id, "user data started none")
            for each in (told, by_path, by_name):
                standing = await here.standing_when(each.instance_id, lambda it: it.agent == "running")
                assert standing.agent_starts == 1
                assert inside(standing, "systemctl is-active ecs") == "active\n"
            assert (await here.standing(bare.instance_id)).agent == "none"
            assert "could not be found" in inside(standing, "systemctl start nginx", check=False)
            inside(standing, "sudo -E systemctl stop ecs")
            await here.standing_when(by_name.instance_id, lambda it: it.agent == "ended")

    asyncio.run(run())


def test_an_agent_that_ends_is_started_again_unless_it_says_otherwise(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            made = order()
            await here.connection.launch(made)
            first = await here.standing_when(made.instance_id, lambda it: it.agent == "running")
            inside(first, f"kill -9 {first.agent_pid}")
            second = await here.standing_when(made.instance_id, lambda it: it.agent_starts == 2)
            assert second.agent == "running" and second.agent_pid != first.agent_pid
            text = await here.console_when(made.instance_id, "again in 1 s")
            assert "the ECS agent ended with signal 9" in text
            # The original agent's status for "don't start me again".
            inside(second, "systemctl stop ecs")
            await here.standing_when(made.instance_id, lambda it: it.agent == "ended")
            assert (await here.standing(made.instance_id)).agent_starts == 2

    asyncio.run(run())


def test_a_flood_on_the_console_is_bounded_and_its_end_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            made = order(scripts=("#!/bin/sh\nseq 1 400000\necho the end\n",))
            await here.connection.launch(made)
            text = await here.console_when(made.instance_id, "agent is up")
            assert "399999\n400000\nthe end\n" in text
            assert len(text) <= 256 * 1024
            assert (here.state / "instances" / made.instance_id / "console").stat().st_size <= 512 * 1024

    asyncio.run(run())


def test_terminate_leaves_nothing_of_it_and_the_others_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            gone, other = order(1), order(2)
            await asyncio.gather(here.connection.launch(gone), here.connection.launch(other))
            standing = await here.standing_when(gone.instance_id, lambda it: it.agent == "running")
            # Daemons, other sessions, processes that ignore signals: all of it.
            inside(
                standing,
                "(setsid sleep 5432 & setsid sh -c 'trap \"\" TERM; sleep 5433' &) < /dev/null > /dev/null 2>&1",
            )
            await here.connection.terminate(gone.instance_id)
            await here.connection.terminate(gone.instance_id)  # Already gone.
            assert not Path(f"/proc/{standing.pid}").exists()
            assert not [each for each in here.remains() if gone.instance_id in each]
            assert not [each for each in _commands() if "543" in each and "sleep" in each]
            assert [each.instance_id for each in await here.connection.list()] == [other.instance_id]
            assert not [news for news in here.news if isinstance(news, Died)]
            # Its address and its id can be used again.
            again = await here.connection.launch(gone)
            assert inside(again, "hostname").startswith("ip-172-31-0-4")

    asyncio.run(run())


def test_an_instance_that_dies_is_told_of_and_cleared_away(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            killed, over = order(1), order(2)
            standing = await here.connection.launch(killed)
            other = await here.connection.launch(over)
            os.kill(standing.pid, signal.SIGKILL)
            await until(lambda: any(isinstance(news, Died) for news in here.news))
            inside(other, "shutdown -h now", check=False)
            await until(lambda: sum(isinstance(news, Died) for news in here.news) == 2)
            told = {news.instance_id: news.reason for news in here.news if isinstance(news, Died)}
            assert told == {
                killed.instance_id: "Server.InternalError: the instance's first process ended",
                over.instance_id: None,
            }
            assert await here.connection.list() == ()
            assert not [each for each in here.remains() if killed.instance_id in each or over.instance_id in each]

    asyncio.run(run())


def test_a_launch_may_be_repeated_and_one_that_cannot_be_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            made = order()
            first, second = await asyncio.gather(here.connection.launch(made), here.connection.launch(made))
            assert first.pid == second.pid == (await here.connection.launch(made)).pid
            wrong = order(2, private_ip="not an address")
            try:
                await here.connection.launch(wrong)
            except Exception as error:
                assert str(error)
            else:
                raise AssertionError("it was launched")
            assert not [each for each in here.remains() if wrong.instance_id in each]
            await here.connection.launch(order(2))

    asyncio.run(run())


def test_python_and_its_packages_work_inside(tmp_path: Path) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            standing = await here.connection.launch(order())
            import sys

            program = "import msgspec, ssl, longshore.agent.config; print(ssl.OPENSSL_VERSION_NUMBER > 0)"
            assert inside(standing, f"{sys.executable} -c '{program}'") == "True\n"
            assert python_inside(standing, "import os; print(os.getpid() < 1000)") == "True\n"

    asyncio.run(run())


def _python_paths_below(folder: str) -> list[str]:
    from longshore.supervisor.guest import python_paths

    return [path for path in python_paths() if path.startswith(folder + "/")]


def _commands() -> list[str]:
    from machines_of_host import _commands as commands

    return commands()
