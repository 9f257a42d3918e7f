"""Runs a test's body with the crun runtime in a mount namespace of its own.

crun refuses a host whose control groups are hybrid unless the v2 tree is out of sight, which the supervisor sees to for an
instance, and `inside_a_namespace` for a test: the body runs in a process of its own, started from this file.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import itertools
import os
import shutil
import subprocess
import sys
import tarfile
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from patience import patient

TESTS = Path(__file__).parent
LIMIT_SECONDS = patient(120)

Body = Callable[["Machine"], Awaitable[None]]

PASSWD = "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1001:a worker:/home/worker:/bin/sh\n"
GROUP = "root:x:0:\nworkers:x:1001:\nstaff:x:50:worker\n"
APPLETS = """
    sh ash true false echo cat sleep ls id env mkdir touch rm dd mknod mount umount stat pwd hostname kill head tail
    wc seq wget ip unshare chroot test sed grep df ln
"""


def busybox_archive(file: Path) -> Path:
    """A root file system of one static program."""
    program = Path(shutil.which("busybox") or "/bin/busybox").resolve()
    with tarfile.open(file, "w") as archive:
        for name, mode in (
            ("bin", 0o755),
            ("etc", 0o755),
            ("tmp", 0o1777),
            ("home/worker", 0o750),
            ("scratch", 0o1777),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            if name == "home/worker":
                entry.uid, entry.gid = 1000, 1001
            archive.addfile(entry)
        archive.add(program, "bin/busybox")
        for name in APPLETS.split():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for name, text, mode in (
            ("etc/passwd", PASSWD, 0o644),
            ("etc/group", GROUP, 0o644),
            ("bin/without-interpreter", "#!/nothing/here\n", 0o755),
            ("bin/not-for-this-machine", "\x7fELF nonsense", 0o755),
        ):
            entry = tarfile.TarInfo(name)
            content = text.encode()
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return file


def why_not() -> str | None:
    """What this machine lacks to run containers; None: nothing."""
    if os.geteuid() != 0:
        return "containers are run by root alone"
    missing = [name for name in ("crun", "umoci", "unshare", "busybox") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True)
    return f"no mount namespaces here: {tried.stderr.strip()}" if tried.returncode else None


# v1 and hybrid hosts without their v2 tree; and v2 alone, which on such hosts is bare of controllers.
AS_IT_IS = "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi"
V2_ALONE = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"


def inside_a_namespace(body: Body, groups: str = AS_IT_IS, *kinds: str) -> Callable[[Path, Path], None]:
    def test(tmp_path: Path, busybox_store: Path) -> None:
        lacking = why_not()
        if lacking:
            pytest.skip(lacking)
        group = f"/longshore-test-{os.getpid()}-{next(_numbers)}"
        command = [
            *("unshare", "-m", *kinds, "--propagation", "private", "sh", "-c", f'{groups}; exec "$@"'),
            *("sh", sys.executable, "-W", "error", __file__),
            *(body.__code__.co_filename, body.__name__, str(tmp_path), str(busybox_store), group),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, cwd=TESTS.parent)
        finally:
            _remove(group)
        assert done.returncode == 0, done.stdout + done.stderr
        left = [line for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line]
        assert not left

    test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, body.__module__
    test.body = body  # type: ignore[attr-defined]
    return test


_numbers = itertools.count()


def _remove(group: str) -> None:
    """What a body that failed or was killed may have left."""
    from longshore.host.cgroups import Hierarchy

    hierarchy = Hierarchy.of_this_process()
    hierarchy.kill_all(group)
    for _ in range(100):
        if hierarchy.remove(group):
            return
        time.sleep(0.01)


def on_v2_alone(body: Body) -> Callable[[Path, Path], None]:
    return inside_a_namespace(body, V2_ALONE)


def in_a_network_of_its_own(body: Body) -> Callable[[Path, Path], None]:
    return inside_a_namespace(body, f"{AS_IT_IS}; ip link set lo up; mount -t tmpfs none /run", "-n")


class Machine:
    """What a test's body works with."""

    def __init__(self, folder: Path, store: Path, group: str) -> None:
        self.folder = folder
        self.store = store
        self.root = folder / "agent"
        self.group = group
        self.runtimes: list[Any] = []
        self._number = 0

    def runtime(self, **more: Any) -> Any:
        """An agent's; a second one is what comes after the death of the first."""
        from longshore.agent.runtimes.crun import CrunRuntime

        made = CrunRuntime(self.root, **{"run": self.root / "run", "images": self.store, "cgroup": self.group, **more})
        self.runtimes.append(made)
        return made

    def spec(self, *command: str, **more: Any) -> Any:
        from longshore.agent.runtimes.base import ContainerSpec

        self._number += 1
        names = {"container_id": f"task{self._number}-main", "task_id": f"task{self._number}", "name": "main"}
        return ContainerSpec(**{**names, "image": "busybox", "command": command or None, "memory_mib": 64, **more})

    def shell(self, script: str, **more: Any) -> Any:
        return self.spec("sh", "-c", script, **more)

    async def run(self, runtime: Any, spec: Any) -> tuple[Any, str]:
        """From its creation to its removal: how it ended and what it wrote. Errors are raised; it is removed all the same."""
        await runtime.pull(spec.image)
        await runtime.create(spec)
        try:
            await runtime.start(spec.container_id)
            output = await self.output(runtime, spec.container_id)
            return await runtime.wait(spec.container_id), output
        finally:
            await runtime.remove(spec.container_id)

    async def output(self, runtime: Any, container_id: str, after: int = 0) -> str:
        return b"".join([chunk.data async for chunk in runtime.logs(container_id, after)]).decode()

    async def close(self) -> None:
        """Leaves nothing, and fails if something can't be removed."""
        from longshore.host.cgroups import Hierarchy

        for runtime in self.runtimes:
            runtime.close()
        last = self.runtime()
        for container_id in await last.inspect():
            await last.remove(container_id)
        last.close()
        hierarchy = Hierarchy.of_this_process()
        assert hierarchy.groups(self.group) == []
        assert hierarchy.remove(self.group)
        assert str(self.root) not in Path("/proc/self/mountinfo").read_text()


async def _main(file: str, name: str, folder: str, store: str, group: str) -> None:
    found = importlib.util.spec_from_file_location("scenarios", file)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    machine = Machine(Path(folder), Path(store), group)
    async with asyncio.timeout(LIMIT_SECONDS - 20):
        try:
            await getattr(module, name).body(machine)
        finally:
            await machine.close()


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.path.insert(0, str(TESTS))
    try:
        asyncio.run(_main(*sys.argv[1:]))
    except Exception as error:
        traceback.print_exception(error)
        # The values, since nothing here explains a bare assert.
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        sys.exit("".join(f"{name} = {value!r}\n" for name, value in frame.f_locals.items()))
