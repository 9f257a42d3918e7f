"""The kind `local`: what it promises, what it asks of the supervisor, and how it comes back to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import uvloop
from msgspec.structs import replace

from in_process import InProcessHouse
from longshore.host.supervised import Gone
from longshore.services.ec2.machines.base import InsufficientCapacity, LaunchOrder
from longshore.services.ec2.machines.local import LocalMachines, capacity_of_host, disk_of_host, disk_share, notes
from longshore.supervisor import client
from machines_of_host import AGENT, Supervised, inside, needs_root, supervised, until


def launch_order(number: int = 1, **more: object) -> LaunchOrder:
    made = LaunchOrder(
        instance_id=f"i-{os.getpid():08x}{number:09x}",
        account="123456789012",
        region="us-east-1",
        instance_type="t3.nano",
        vcpus=2,
        memory_mib=512,
        private_ip=f"172.31.0.{3 + number}",
    )
    return replace(made, **more)


class Reports:
    def __init__(self, machines: LocalMachines) -> None:
        self.heard: list[tuple[str, str, str | None]] = []
        machines.on_report = lambda *report: self.heard.append(report)

    async def heard_of(self, instance_id: str, state: str) -> str | None:
        await until(lambda: any(each[:2] == (instance_id, state) for each in self.heard))
        return next(each[2] for each in self.heard if each[:2] == (instance_id, state))


def machines_for(here: Supervised, house: InProcessHouse) -> LocalMachines:
    return LocalMachines(house.house, partial(client.start, here.state, has_way_out=False, agent=AGENT))


@needs_root
def test_an_instance_is_launched_with_what_its_order_says(tmp_path: Path, house: InProcessHouse) -> None:
    user_data = "#!/bin/sh\necho ECS_CLUSTER=mine > /etc/ecs/ecs.config\n"

    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            machines = machines_for(here, house)
            reports = Reports(machines)
            await machines.start()
            order = launch_order(
                user_data=user_data, region="eu-west-1", metadata_options={"HttpPutResponseHopLimit": 2}
            )
            await machines.launch(order)
            assert await reports.heard_of(order.instance_id, "running") is None
            assert [each.instance_id for each in await machines.list()] == [order.instance_id]
            await here.console_when(order.instance_id, "agent is up")
            standing = await here.standing(order.instance_id)
            assert inside(standing, "hostname; cat /etc/ecs/ecs.config").split() == [
                "ip-172-31-0-4.eu-west-1.compute.internal",
                "ECS_CLUSTER=mine",
            ]
            # The link-layer address that the metadata service tells.
            assert inside(standing, "cat /sys/class/net/eth0/address").strip() == "02:42:ac:1f:00:04"
            said = inside(standing, "cat /tmp/agent-environment").splitlines()
            assert {"AWS_REGION=eu-west-1", "LONGSHORE_INSTANCE_VCPUS=2", "LONGSHORE_INSTANCE_MEMORY_MIB=512"} <= set(
                said
            )
            console = (await machines.console_output(order.instance_id)).decode()
            assert console.startswith(f"{order.instance_id}: booting t3.nano, 2 vCPUs, 512 MiB\n")
            await machines.terminate(order.instance_id)
            await machines.terminate(order.instance_id)
            assert await machines.list() == []
            assert await machines.console_output(order.instance_id) == b""
            await machines.close(stop_instances=False)

    asyncio.run(run())


@needs_root
def test_no_more_is_promised_than_there_is(tmp_path: Path, house: InProcessHouse) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            machines = machines_for(here, house)  # 64 vCPUs and 256 GiB, as the house's settings say
            await machines.start()
            assert machines.capacity() == (64, 262_144)
            orders = [launch_order(number, memory_mib=100_000) for number in (1, 2, 3)]
            done = await asyncio.gather(*(machines.launch(order) for order in orders), return_exceptions=True)
            assert [type(each) for each in done] == [type(None), type(None), InsufficientCapacity]
            assert str(done[2]) == "2 vCPUs and 100000 MiB asked, 60 vCPUs and 62144 MiB left"
            # One that is there is not counted twice; what has ended is free again.
            await machines.launch(orders[0])
            await machines.terminate(orders[0].instance_id)
            await machines.launch(orders[2])
            with pytest.raises(InsufficientCapacity):
                await machines.launch(launch_order(4, vcpus=61))
            await machines.close(stop_instances=False)

    asyncio.run(run())


@needs_root
def test_an_instance_that_dies_is_reported_and_its_room_is_free(tmp_path: Path, house: InProcessHouse) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            machines = machines_for(here, house)
            reports = Reports(machines)
            await machines.start()
            for number in (1, 2):
                await machines.launch(launch_order(number, memory_mib=130_000))
            first, second = (launch_order(number).instance_id for number in (1, 2))
            os.kill((await here.standing(first)).pid, 9)
            reason = await reports.heard_of(first, "terminated")
            assert reason == "Server.InternalError: the instance's first process ended"
            inside(await here.standing(second), "poweroff", check=False)
            assert await reports.heard_of(second, "terminated") is None
            await machines.launch(launch_order(3, memory_mib=260_000))
            await machines.close(stop_instances=False)

    asyncio.run(run())


@needs_root
def test_when_the_supervisor_dies_a_new_one_is_started_and_nothing_is_lost(
    tmp_path: Path, house: InProcessHouse
) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            machines = machines_for(here, house)
            reports = Reports(machines)
            await machines.start()
            kept, dead = launch_order(1), launch_order(2)
            for order in (kept, dead):
                await machines.launch(order)
            pid = (await here.standing(dead.instance_id)).pid
            await here.kill()
            os.kill(pid, 9)
            # What is asked meanwhile waits for the next one.
            await machines.launch(launch_order(3))
            assert await reports.heard_of(dead.instance_id, "terminated") == "Server.InternalError: the host failed"
            there = {each.instance_id for each in await machines.list()}
            assert there == {kept.instance_id, launch_order(3).instance_id}
            assert (kept.instance_id, "terminated") not in [each[:2] for each in reports.heard]
            await machines.close(stop_instances=False)

    asyncio.run(run())


_SERVER = """
import asyncio, sys
from functools import partial
from pathlib import Path

sys.path[:0] = {path!r}
from in_process import InProcessHouse
from longshore.services.ec2.machines.local import LocalMachines
from longshore.supervisor import client
{this_page}

async def run(house):
    machines = LocalMachines(house, partial(client.start, Path({state!r}), has_way_out=False, agent=AGENT))
    await machines.start()
    await machines.listeners()
    await machines.launch(launch_order(7, instance_id={instance_id!r}))
    print("launched", flush=True)
    await asyncio.sleep(1000)

asyncio.run(run(InProcessHouse().house))
"""


@needs_root
def test_a_server_that_was_killed_finds_its_instances_and_its_listeners_again(
    tmp_path: Path, house: InProcessHouse
) -> None:
    async def run() -> None:
        async with supervised(tmp_path / "state") as here:
            order = launch_order(7)
            program = _SERVER.format(
                path=[str(Path(__file__).parents[2])],
                state=str(here.state),
                instance_id=order.instance_id,
                this_page=_THIS_PAGE,
            )
            server = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
            assert server.stdout is not None
            while (line := await server.stdout.readline()) != b"launched\n":
                assert line, "it ended before it had launched anything"  # What it logs comes here, too.
            server.kill()
            await server.wait()
            machines = machines_for(here, house)
            reports = Reports(machines)
            await machines.start()
            assert [each.instance_id for each in await machines.list()] == [order.instance_id]
            await machines.launch(order)  # As the loop does with what is still `pending`.
            await reports.heard_of(order.instance_id, "running")
            assert (await here.standing(order.instance_id)).private_ip == order.private_ip
            metadata, api = await machines.listeners()
            assert metadata.getsockname() == ("169.254.169.254", 80) and api.getsockname() == ("169.254.169.253", 4570)
            for each in (metadata, api):
                each.close()
            # It counts what it found.
            with pytest.raises(InsufficientCapacity):
                await machines.launch(launch_order(1, vcpus=64))
            await machines.close(stop_instances=False)

    asyncio.run(run())


_THIS_PAGE = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("this_page", {__file__!r})
page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(page)
AGENT, launch_order = page.AGENT, page.launch_order
"""


@needs_root
def test_the_end_of_the_server_is_the_end_of_everything(tmp_path: Path, house: InProcessHouse) -> None:
    async def run() -> None:
        here = Supervised(tmp_path / "state")
        here.state.mkdir()
        machines = machines_for(here, house)
        await machines.start()
        await machines.start()
        await machines.launch(launch_order())
        await machines.close(stop_instances=True)
        await machines.close(stop_instances=True)
        await until(lambda: not any(each.startswith("process") for each in here.remains()))
        assert here.remains() == []

    asyncio.run(run())


def test_a_supervisor_that_cannot_be_had_is_the_starts_error(house: InProcessHouse, tmp_path: Path) -> None:
    async def supervise() -> Path:
        return tmp_path / "nobody.sock"

    with pytest.raises(Gone, match="no supervisor at"):
        asyncio.run(LocalMachines(house.house, supervise).start())


def test_the_console_begins_with_what_is_booted_and_what_of_user_data_is_not_run() -> None:
    assert notes(launch_order(user_data="#!/bin/sh\ntrue\n")) == notes(launch_order())
    assert notes(launch_order(user_data="#cloud-config\nruncmd: [true]\n"))[2:] == [
        "user data: passed over: text/cloud-config"
    ]
    assert notes(launch_order(user_data="echo hello\n"))[2:] == ["user data: passed over: it does not begin with #!"]
    mixed = (
        'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="B"\n\n--B\nContent-Type: text/x-shellscript\n\n'
        "#!/bin/sh\ntrue\n--B\nContent-Type: text/cloud-boothook\n\n#!/bin/sh\ntrue\n--B--\n"
    )
    assert notes(launch_order(user_data=mixed))[2:] == ["user data: passed over: text/cloud-boothook"]


def test_the_host_keeps_some_memory_for_itself() -> None:
    assert capacity_of_host(7, 1234) == (7, 1234)
    vcpus, memory_mib = capacity_of_host(None, None)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    assert vcpus >= 2
    assert memory_mib <= total - 512 and memory_mib <= total * 0.9


@needs_root
def test_a_supervisor_is_started_from_the_servers_own_kind_of_loop(tmp_path: Path, house: InProcessHouse) -> None:
    """uvloop starts programs in its own way, and they inherit more."""

    async def run() -> None:
        state = tmp_path / "state"
        state.mkdir()
        machines = LocalMachines(house.house, partial(client.start, state, has_way_out=False, agent=AGENT))
        async with asyncio.timeout(20):
            await machines.start()
            await machines.launch(launch_order())
            await machines.close(stop_instances=True)
        here = Supervised(state)
        # It has said that all is gone, and goes itself now.
        await until(lambda: not any(each.startswith("process") for each in here.remains()))
        assert here.remains() == []

    uvloop.run(run())


def test_disks_are_shared_out_by_vcpus_and_all_together_are_no_more_than_there_is(tmp_path: Path) -> None:
    assert disk_of_host(None, None) is None and disk_of_host(tmp_path / "not there", None) is None
    assert disk_of_host(tmp_path, 8) == 8192
    found = disk_of_host(tmp_path, None)
    assert found is not None and 0 <= found < os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize // 2**20
    assert disk_share(None, 2, 16) is None
    assert [disk_share(16384, vcpus, 16) for vcpus in (2, 4, 16)] == [2048, 4096, 16384]
    # No less than can be worked with, no more than the volume of an ECS-optimised image.
    assert (disk_share(0, 2, 16), disk_share(2**30, 2, 16)) == (1024, 30 * 1024)
