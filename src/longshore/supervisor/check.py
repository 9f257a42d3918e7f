"""What this host lacks for local machines, and how to get it. Reads only: it needs no root and changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from longshore.host.cgroups import mounts_in
from longshore.supervisor import guest

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USERS_SINCE = (5, 19)  # overlays over what is shown to other users
_CONTROLLERS = {"cpu", "memory", "pids"}


class Missing(Struct, frozen=True, kw_only=True):
    what: str
    how: str  # to get it
    is_needed: bool = True  # False: machines work without, and something else does not


class Host(Struct, frozen=True, kw_only=True):
    """What is looked at. `of_this_host` looks."""

    system: str
    is_root: bool
    has: Callable[[str], bool]  # whether a program is there
    file_systems: str  # /proc/filesystems
    mounts: str  # /proc/self/mountinfo
    controllers: str  # v2: the root's cgroup.controllers
    state_kind: str  # the kind of file system that the state folder is on
    has_resolver: bool
    has_loops: bool  # whether files can be disks
    users_max: int  # user namespaces that there may be
    kernel: tuple[int, int]


def check(state: Path, *, has_way_out: bool = True) -> list[Missing]:
    """What is missing on this host, what is needed first. Empty: all is there."""
    return missing(of_this_host(state), has_way_out=has_way_out)


def missing(host: Host, *, has_way_out: bool) -> list[Missing]:
    """Pure."""
    if host.system != "linux":
        return [Missing(what=f"Linux: this is {host.system}", how="`--machines memory` works everywhere")]
    found = []
    if not host.is_root and not host.has("sudo"):
        found.append(Missing(what="root: instances are namespaces", how="start as root, or install sudo"))
    found += _kernel(host)
    if not host.has("crun"):
        found.append(Missing(what="crun, which runs containers", how=_install(host, "crun")))
    if has_way_out and not (host.has("nft") or host.has("iptables")):
        found.append(
            Missing(
                what="nft or iptables: without, jobs reach this server alone, no registry and no internet",
                how=_install(host, "nftables"),
                is_needed=False,
            )
        )
    for program in ("skopeo", "umoci"):
        if not host.has(program):
            found.append(
                Missing(
                    what=f"{program}: without, images come by `longshore images import` of a root file system alone",
                    how=_install(host, program),
                    is_needed=False,
                )
            )
    found += _bounds(host)
    if has_way_out and not host.has_resolver:
        found.append(
            Missing(
                what="a resolver that instances reach: the host's own is on a loopback address",
                how="name another one in /etc/resolv.conf",
                is_needed=False,
            )
        )
    return found


def of_this_host(state: Path) -> Host:
    def read(path: str) -> str:
        try:
            return Path(path).read_text()
        except OSError:
            return ""

    mounts = read("/proc/self/mountinfo")
    return Host(
        system=sys.platform,
        is_root=os.geteuid() == 0,
        has=lambda name: shutil.which(name, path=_PATH) is not None,
        file_systems=read("/proc/filesystems"),
        mounts=mounts,
        controllers=read("/sys/fs/cgroup/cgroup.controllers"),
        state_kind=file_system_of(state.resolve(), mounts),
        has_resolver="nameserver" in guest.resolvers(),
        has_loops=Path("/dev/loop-control").exists(),
        users_max=int(read("/proc/sys/user/max_user_namespaces") or 0),
        kernel=kernel_version(os.uname().release),
    )


def kernel_version(release: str) -> tuple[int, int]:
    """`6.1.0-13-amd64`, `6.1`. Pure."""
    first, second, *_ = (*(part for part in release.replace("-", ".").split(".") if part.isdecimal()), "0", "0")
    return int(first), int(second)


def _bounds(host: Host) -> list[Missing]:
    """What keeps an instance to itself, and is not needed to run one."""
    found = []
    if host.users_max == 0 or host.kernel < _USERS_SINCE:
        how = "`sysctl user.max_user_namespaces=10000`" if host.kernel >= _USERS_SINCE else "Linux 5.19 or later"
        found.append(
            Missing(
                what="user namespaces: without, root in an instance (user data, privileged jobs) is root on this host",
                how=how,
                is_needed=False,
            )
        )
    if not host.has_loops or not host.has("mkfs.ext4"):
        how = _install(host, "e2fsprogs") if host.has_loops else "`modprobe loop` as root"
        found.append(
            Missing(
                what="disks of files: without, a job that fills its disk fills the one that the state folder is on",
                how=how,
                is_needed=False,
            )
        )
    return found


def file_system_of(path: Path, mountinfo: str) -> str:
    """The kind of the file system that `path` is on, or would be. Pure."""
    best, kind = Path("/"), ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        place = Path(before.split()[4].replace("\\040", " "))
        # Of two on one place the later one is seen.
        if path.is_relative_to(place) and place.is_relative_to(best):
            best, kind = place, after.split()[0]
    return kind


def _kernel(host: Host) -> list[Missing]:
    found = []
    mounts = mounts_in(host.mounts)
    there = set(host.controllers.split()) if "unified" in mounts else set(mounts)
    lacking = ", ".join(sorted(_CONTROLLERS - there))
    if lacking:
        found.append(
            Missing(
                what=f"control groups: {lacking}",
                how="mount them under /sys/fs/cgroup; the kernel may want `cgroup_enable=memory` at boot",
            )
        )
    if "overlay" not in host.file_systems.split():
        found.append(Missing(what="the overlay file system", how="`modprobe overlay` as root"))
    if host.state_kind == "overlay":
        found.append(
            Missing(
                what="a state folder that containers' file systems can lie on: this one is on an overlay itself",
                how="`--state` on a disk or a volume",
            )
        )
    return found


_INSTALLERS = {
    "apt-get": "apt-get install -y",
    "dnf": "dnf install -y",
    "zypper": "zypper install -y",
    "pacman": "pacman -S",
    "apk": "apk add",
}


def _install(host: Host, package: str) -> str:
    for program, command in _INSTALLERS.items():
        if host.has(program):
            return f"`{command} {package}` as root"
    return f"install {package}"
