"""Bare containers, started as fast as the machine can: what a job's container is measured against."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

IMAGE = "longshore-bench:1"
_UNIFIED = Path("/sys/fs/cgroup/unified")


class NotHere(Exception):
    """What would be measured is not on this machine, or Longshore does not have it yet. The text says what."""


class Rate(Struct, frozen=True):
    count: int
    seconds: float
    p50_ms: float  # of one, from its start to its end


def make_image(folder: Path) -> Path:
    """A root file system of one busybox, as a tar. NotHere: no busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise NotHere("busybox is missing; it comes with Debian's busybox-static")
    root = folder / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in ("sh", "true", "echo", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    for name in ("dev", "proc", "sys", "tmp", "etc"):
        (root / name).mkdir()
    with tarfile.open(folder / "rootfs.tar", "w") as tar:
        tar.add(root, ".")
    return folder / "rootfs.tar"


def crun(folder: Path, image: Path, parallel: int, count: int) -> Rate:
    """`crun run` of the image's root, on the host's network, as Longshore's own containers are."""
    if shutil.which("crun") is None:
        raise NotHere("crun is missing")
    if os.geteuid() != 0:
        raise NotHere("crun is measured as root")
    bundle = image.parent
    if not (bundle / "config.json").exists():
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["true"]}
    spec["root"] = {"path": str(bundle / "rootfs"), "readonly": True}
    spec["linux"]["namespaces"] = [each for each in spec["linux"]["namespaces"] if each["type"] != "network"]
    (bundle / "config.json").write_text(json.dumps(spec))
    line = [sys.executable, "-m", "bench.containers", str(parallel), str(count), str(bundle)]
    if _UNIFIED.is_dir():
        # crun refuses the hybrid layout; in a mount namespace of its own it sees version 1 alone.
        line = ["unshare", "-m", "sh", "-c", f'umount {_UNIFIED} && exec "$@"', "sh", *line]
    done = subprocess.run(line, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise NotHere(f"crun does not run here: {done.stderr.strip()[-300:]}")
    told = json.loads(done.stdout)
    return Rate(count, told["seconds"], told["p50_ms"])


def docker(image: Path, parallel: int, count: int) -> Rate:
    """`docker run --rm --network none` of the same root file system."""
    if shutil.which("docker") is None:
        raise NotHere("docker is not installed")
    if subprocess.run(["docker", "info"], capture_output=True, timeout=20).returncode:
        raise NotHere("no Docker engine answers")
    subprocess.run(["docker", "import", str(image), IMAGE], check=True, capture_output=True, timeout=60)
    try:
        line = ["docker", "run", "--rm", "--network", "none", IMAGE, "true"]
        return asyncio.run(_repeat(lambda number: line, parallel, count))
    finally:
        subprocess.run(["docker", "rmi", "-f", IMAGE], capture_output=True, timeout=60)


async def _repeat(line_of: Callable[[int], list[str]], parallel: int, count: int) -> Rate:
    numbers = iter(range(count))
    took: list[float] = []

    async def worker() -> None:
        for number in numbers:
            start = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *line_of(number), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
            )
            if await process.wait():
                raise NotHere(f"`{' '.join(line_of(number))}` ended with {process.returncode}")
            took.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(parallel)))
    return Rate(count, time.perf_counter() - start, statistics.median(took) * 1000)


def main() -> None:
    """PARALLEL COUNT BUNDLE: the loop of `crun run` alone, in whatever namespaces it was started."""
    parallel, count, bundle = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    own = os.getpid()
    rate = asyncio.run(_repeat(lambda number: ["crun", "run", "-b", bundle, f"bench-{own}-{number}"], parallel, count))
    json.dump({"seconds": rate.seconds, "p50_ms": rate.p50_ms}, sys.stdout)


if __name__ == "__main__":
    main()
