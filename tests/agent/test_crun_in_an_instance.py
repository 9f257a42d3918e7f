"""The crun runtime where it lives: as the agent's, inside an instance that the supervisor has made."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from crun_scenarios import busybox_archive, why_not
from longshore.host.images import ImageStore
from machines_of_host import needs_root, order, supervised

pytestmark = needs_root

# Stands for the agent: with the settings that the agent gets, it runs what a test wants to know.
AGENT = """
import asyncio, os, sys
from longshore.agent.config import AgentConfig
from longshore.agent.runtimes.base import ContainerError, ContainerSpec, Mount
from longshore.agent.runtimes.crun import CrunRuntime

async def main():
    config = AgentConfig.from_environment(os.environ)
    runtime = CrunRuntime(config.data / "runtime", images=config.images, cgroup=config.cgroup)
    async def run(name, script, **more):
        spec = ContainerSpec(container_id=f"task-{name}", task_id="task", name=name, image="busybox", cpu_shares=512,
                             command=("sh", "-c", script), **{"memory_mib": 32, **more})
        try:
            await runtime.pull("busybox")
            await runtime.create(spec)
            await runtime.start(spec.container_id)
            output = b"".join([chunk.data async for chunk in runtime.logs(spec.container_id, 0)]).decode()
            print(name, await runtime.wait(spec.container_id), repr(output), flush=True)
            await runtime.remove(spec.container_id)
        except ContainerError as error:
            print(name, "failed:", error, flush=True)
    await asyncio.gather(*(run(f"many{number}", f"echo {number}; exit {number}") for number in range(5)))
    await run("memory", "x=a; while :; do x=$x$x; done")
    await run("host", "hostname; ls /sys/class/net | grep -v lo; cat /etc/hosts | grep -c 127.0.0.1; echo x >/data/x",
              mounts=(Mount(destination="/data", source="/var/data"),))
    await run("missing", "true", entry_point=("/nothere",))
    await run("kept", "mknod /tmp/disk b 8 0; mount -t tmpfs none /tmp; echo $?; ls /sys/fs/cgroup/memory/longshore")
    await run("bridge", "ip -o -4 addr show eth0 | grep -o 172.17.0.2; ip route | head -n 1", network_mode="bridge")
    print("left:", await runtime.inspect(), os.listdir("/var/data"), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_containers_run_in_an_instance(tmp_path: Path) -> None:
    lacking = why_not()
    if lacking:
        pytest.skip(lacking)
    state = tmp_path / "state"
    state.mkdir()
    ImageStore(state / "images").import_file("busybox", busybox_archive(tmp_path / "busybox.tar"))

    async def run() -> None:
        async with supervised(state, agent=(sys.executable, "-c", AGENT)) as here:
            made = order()
            await here.connection.launch(made)
            text = await here.console_when(made.instance_id, "left:")
        lines = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        for number in range(5):
            assert lines[f"many{number}"] == f"Exit(exit_code={number}, reason=None) '{number}\\n'", text
        assert "exit_code=137, reason='OutOfMemoryError" in lines["memory"], text
        host = made.hostname
        assert lines["host"].startswith(f"Exit(exit_code=0, reason=None) '{host}\\neth0\\n"), text
        assert lines["missing"].startswith("failed: CannotStartContainerError"), text
        assert "Operation not permitted" in lines["kept"] and "\\n1\\n" in lines["kept"], text
        assert "'172.17.0.2\\ndefault via 172.17.0.1" in lines["bridge"], text
        assert lines["left:"] == "['task-missing'] ['x']", text

    asyncio.run(run())
