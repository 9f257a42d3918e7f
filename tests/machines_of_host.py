"""A supervisor of the test's own, what is inside its instances, and what it may leave behind: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.host.supervised import Connection, Gone, News, Order, Standing, open_connection
from longshore.supervisor import client
from patience import patient

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nsenter") is None,
    reason="namespaces need root, and looking into them nsenter",
)

_HOST_OF_ITS_OWN = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run
ip link set lo up && ip link add out0 type veth peer name out1
ip address add 203.0.113.2/24 dev out0 && ip link set out0 up && ip link set out1 up
ip route add default via 203.0.113.1
exec "$@"
"""


def on_a_host_of_its_own(test: Callable[..., None]) -> Callable[..., None]:
    """For a test that looks at what the host has set: others change it at the same time.

    It runs in another pytest, with a network and a /run of its own.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        if os.environ.get("HOST_OF_ITS_OWN"):
            test(*args, **kwargs)
            return
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", inspect.getfile(test), "-k", test.__name__]
        done = subprocess.run(
            ["unshare", "-m", "-n", "/bin/sh", "-ec", _HOST_OF_ITS_OWN, "sh", *command],
            env={**os.environ, "HOST_OF_ITS_OWN": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr

    return run


# Stands for the agent: says that it is there, and stays. What it was started with is told by the instance's files.
AGENT = ("/bin/sh", "-c", "env > /tmp/agent-environment; echo agent is up; exec sleep 1000")
LIMIT_SECONDS = patient(20.0)


def order(number: int = 1, **more: object) -> Order:
    made = Order(
        instance_id=f"i-{os.getpid():08x}{number:09x}",
        private_ip=f"172.31.0.{3 + number}",
        vcpus=1,
        memory_mib=256,
        hostname=f"ip-172-31-0-{3 + number}.ec2.internal",
    )
    return replace(made, **more)


def inside(standing: Standing, script: str, *, check: bool = True) -> str:
    """What a shell in the instance says."""
    done = subprocess.run(
        [
            "nsenter",
            "-t",
            str(standing.pid),
            "-U",
            "-m",
            "-n",
            "-p",
            "-u",
            "-i",
            "-C",
            "-r",
            "-w",
            "/bin/sh",
            "-c",
            script,
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        env={"PATH": "/opt/longshore/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def python_inside(standing: Standing, program: str, *, check: bool = True) -> str:
    return inside(standing, f"{sys.executable} -I -S - <<'END'\n{program}\nEND\n", check=check)


class Supervised:
    """One supervisor after another for one state folder."""

    def __init__(
        self, state: Path, *, share: tuple[str, ...] = (), has_way_out: bool = False,
        agent: tuple[str, ...] = AGENT,
    ) -> None:  # fmt: skip
        self.agent = agent
        self.state = state
        self.share = share
        self.has_way_out = has_way_out
        self.news: list[News] = []
        self.connection: Connection

    async def start(self) -> Connection:
        path = await client.start(self.state, share=self.share, has_way_out=self.has_way_out, agent=self.agent)
        self.connection = open_connection(path, self.news.append)
        return self.connection

    async def kill(self) -> None:
        """SIGKILL, as the kernel would for want of memory."""
        pid = (await self.connection.about()).pid
        os.kill(pid, signal.SIGKILL)
        await self.connection.closed.wait()
        await until(lambda: not Path(f"/proc/{pid}").exists() or _is_dead(pid))

    async def standing(self, instance_id: str) -> Standing:
        return next(each for each in await self.connection.list() if each.instance_id == instance_id)

    async def standing_when(self, instance_id: str, holds: Callable[[Standing], bool]) -> Standing:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not holds(standing := await self.standing(instance_id)):
                await asyncio.sleep(0.01)
        return standing

    async def console_when(self, instance_id: str, words: str) -> str:
        async with asyncio.timeout(LIMIT_SECONDS):
            while words not in (text := (await self.connection.console(instance_id)).decode()):
                await asyncio.sleep(0.01)
        return text

    async def end(self) -> None:
        """Whatever the test did to it: everything goes."""
        with contextlib.suppress(AttributeError, Gone):
            self.connection.close()
        connection = await self.start()
        await connection.shutdown()
        await connection.closed.wait()

    def remains(self) -> list[str]:
        """All that could be left of it on this host."""
        digest = hashlib.sha256(os.fsencode(self.state.resolve())).hexdigest()[:8]
        found = [f"fabric: {path}" for path in Path("/run/longshore").glob(f"*{digest}*")]
        links = os.listdir("/sys/class/net")
        found += [f"link: {name}" for name in links if digest in name]
        found += [f"mount: {line}" for line in Path("/proc/self/mounts").read_text().splitlines()
                  if digest in line or str(self.state) in line]  # fmt: skip
        groups = Path("/sys/fs/cgroup").glob("**/longshore/*")
        found += [f"group: {path}" for path in groups if path.is_dir() and f"i-{os.getpid():08x}" in path.name]
        found += [f"file: {path}" for path in self.state.iterdir()
                  if path.name not in ("images", "supervisor.log", "supervisor.lock")]  # fmt: skip
        found += [f"process: {command}" for command in _commands() if str(self.state) in command]
        if shutil.which("nft"):
            tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
            found += [f"table: {line}" for line in tables.splitlines() if digest in line]
        return found


@contextlib.asynccontextmanager
async def supervised(state: Path, **options: object) -> AsyncIterator[Supervised]:
    """Started; at the end everything is shut down, and nothing may be left."""
    made = Supervised(state, **options)
    state.mkdir(exist_ok=True)
    try:
        await made.start()
        yield made
    finally:
        await made.end()
    await until(lambda: not any(each.startswith("process") for each in made.remains()))
    assert made.remains() == []


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def _commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True
