"""The configuration of a container in the words of the OCI runtime specification. Pure: what is wanted, the image and the
instance's facts in, one document out.

Defaults are Docker's, since that is what AWS's agent drives: its capabilities, masked paths, mounts, and the meaning of
command, entry point and user. No resources are named here: the runtime puts the container's program into its control group
itself (`crun.py`).
Source: OCI runtime specification 1.0, config.md and config-linux.md; moby `oci/defaults.go` for the lists.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from longshore.agent.runtimes.base import ContainerError, ContainerSpec
from longshore.agent.runtimes.seccomp import seccomp_filter
from longshore.host.image_names import UnpackedImage


def _words(text: str) -> list[str]:
    return text.split()


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CAPABILITIES = _words(
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP "
    "CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER "
    "CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE "
    "CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP "
    "CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF "
    "CAP_CHECKPOINT_RESTORE"
)  # in the order of their bits

DEFAULT_CAPABILITIES = frozenset(
    _words(
        "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP CAP_NET_BIND_SERVICE "
        "CAP_NET_RAW CAP_SYS_CHROOT CAP_MKNOD CAP_AUDIT_WRITE CAP_SETFCAP"
    )
)

# What may be added where privileged containers may not run: nothing of it reaches past the container.
_HARMLESS_CAPABILITIES = DEFAULT_CAPABILITIES | frozenset(
    _words("CAP_IPC_LOCK CAP_IPC_OWNER CAP_LEASE CAP_NET_BROADCAST CAP_SYS_NICE CAP_SYS_PTRACE CAP_SYS_RESOURCE")
)

_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
# Not /sys/fs/cgroup: crun would cover the read-only hierarchies on it with writable ones. The folder alone, an empty tmpfs
# on v1, can be written.
_READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Batch API reference, Ulimit, name.
_ULIMITS = frozenset(
    _words("core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack")
)
# What the ECS-optimised image's Docker sets where nothing is said.
_NOFILE = (1024, 4096)

# ECS API reference, Tmpfs, mountOptions, less what would make it another mount than a fresh tmpfs (bind, rbind, remount).
_TMPFS_OPTIONS = frozenset(
    _words(
        "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync mand nomand atime noatime diratime "
        "nodiratime unbindable runbindable private rprivate shared rshared slave rslave relatime norelatime "
        "strictatime nostrictatime mode uid gid nr_inodes nr_blocks mpol"
    )
)

# Those of a namespace that every container has; `net.` only beside a network namespace of its own.
_IPC_SYSCTLS = frozenset(
    _words(
        "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
        "kernel.shm_rmid_forced"
    )
)

# Devices without a way to other people's data. A disk or /dev/mem is never one of them.
_SAFE_DEVICES = frozenset(
    _words("/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/fuse /dev/kvm /dev/kfd /dev/net/tun")
)
_SAFE_DEVICE_FOLDERS = ("/dev/nvidia", "/dev/dri/", "/dev/infiniband/")

# Where the program sits that is PID 1 of a container with an init, and what it does: hands signals on, buries orphans.
INIT = "/.longshore/busybox"  # By its own name: it does what it is called.
_INIT_SCRIPT = (
    # The traps come first: a signal that meets a PID 1 without one is lost. What comes too early is kept.
    "child= early=\n"
    "for name in HUP INT QUIT TERM USR1 USR2; do\n"
    """trap 'if [ "$child" ]; then kill -'$name' $child 2>/dev/null; else early="$early '$name'"; fi' $name; done\n"""
    '"$@" & child=$!\n'
    "for name in $early; do kill -$name $child 2>/dev/null; done\n"
    # A signal interrupts the waiting, whose status then means nothing while the child is there.
    "while :; do wait $child; status=$?; kill -0 $child 2>/dev/null || exit $status; done\n"
)

# The kernel looks first for those with the higher score when memory runs out: the job's own processes, not the runtime's,
# which share its control group.
_OOM_SCORE = 300


# Of the instance: whoever reads these reads of other jobs and of the agent, and whoever writes them is its root.
_SECRET_PLACES = ("/dev", "/proc", "/run/longshore", "/run/netns", "/sys", "/var/lib/cloud", "/var/lib/ecs")
# Whoever writes these is root in the instance, before long.
_POWERFUL_PLACES = ("/etc", "/opt/longshore", "/root", "/var/lib/longshore")
_OPEN_PLACES = frozenset({"/dev/shm"})


class DeviceNode(Struct, frozen=True, kw_only=True):
    """A device of the instance, as stat(2) tells it."""

    path: str
    kind: str  # c, b
    major: int
    minor: int


class Bind(Struct, frozen=True, kw_only=True):
    """A file or folder of the instance that exists, in the container."""

    source: str
    destination: str
    is_read_only: bool = False


class Facts(Struct, frozen=True, kw_only=True):
    """What the container's configuration takes from its instance."""

    machine: str  # uname -m
    hostname: str
    capabilities: tuple[str, ...]  # those that a process here can have at all
    nofile_max: int
    init: str | None = None  # a static program with busybox's shell; None: there is none
    devices: tuple[DeviceNode, ...] = ()  # of the paths that the container asks for
    is_root_of_the_host: bool = True  # False: root here is a user of the host's, who can't have a /sys to write to


class Identity(Struct, frozen=True, kw_only=True):
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def configuration(
    spec: ContainerSpec,
    image: UnpackedImage,
    facts: Facts,
    *,
    rootfs: str,
    binds: Sequence[Bind],
    network: str | None = None,
) -> dict[str, Any]:
    """config.json. `network`: what stands for the network namespace of a bridged container.

    ContainerError: something is asked for that can't be given, in Docker's words where it has some.
    """
    identity = identify(spec.user if spec.user is not None else image.user, image.passwd, image.group)
    capabilities = capabilities_of(spec, facts.capabilities)
    hostname = hostname_of(spec, facts)
    arguments = arguments_of(spec, image)
    if spec.has_init:
        if facts.init is None:
            raise refused("an init process needs a static busybox on the instance (Debian: busybox-static)")
        binds = [*binds, Bind(source=facts.init, destination=INIT, is_read_only=True)]
        arguments = [INIT, "sh", "-c", _INIT_SCRIPT, "init", *arguments]
    linux: dict[str, Any] = {
        "namespaces": _namespaces(spec, network),
        "sysctl": _sysctls(spec),
        "devices": [_device(node, spec) for node in facts.devices],
        "rootfsPropagation": "private",
    }
    if not spec.is_privileged:
        linux["maskedPaths"] = list(_MASKED_PATHS)
        linux["readonlyPaths"] = list(_READ_ONLY_PATHS)
        linux["seccomp"] = seccomp_filter(capabilities, facts.machine, shares_network=spec.network_mode == "host")
    return {
        "ociVersion": "1.0.2",
        "hostname": hostname,
        "root": {"path": rootfs, "readonly": spec.is_root_read_only},
        "process": {
            "terminal": False,
            "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups)},
            "args": arguments,
            "env": [f"{name}={value}" for name, value in _environment(spec, image, hostname, identity).items()],
            "cwd": _working_directory(spec, image),
            "capabilities": _capability_sets(capabilities, identity),
            "rlimits": _rlimits(spec, facts),
            "noNewPrivileges": not spec.is_privileged,
            "oomScoreAdj": _OOM_SCORE,
        },
        "mounts": _mounts(spec, binds, facts),
        "linux": linux,
        # No annotations: crun takes orders by them (another seccomp filter, files to write to), and labels are the user's.
    }


def refused(why: str) -> ContainerError:
    return ContainerError(f"CannotCreateContainerError: Error response from daemon: {why}")


def arguments_of(spec: ContainerSpec, image: UnpackedImage) -> list[str]:
    """An entry point of the container's own leaves nothing of the image's command, as with Docker."""
    if spec.entry_point is not None:
        arguments = [*spec.entry_point, *(spec.command or ())]
    else:
        arguments = [*image.entry_point, *(image.command if spec.command is None else spec.command)]
    if not arguments:
        raise refused("No command specified")
    return arguments


def identify(user: str, passwd: str, group: str) -> Identity:
    """`user`, `user:group`, names or numbers, in the image's own files; "": root."""
    name, _, group_name = (user or "0").partition(":")
    entries = [line.split(":") for line in passwd.splitlines() if line.count(":") >= 6]
    groups = [line.split(":") for line in group.splitlines() if line.count(":") >= 3]
    # A name that is all digits is a number only if nobody is called so.
    entry = next((each for each in entries if each[0] == name), None)
    if entry is None and name.isdecimal():
        entry = next((each for each in entries if each[2] == name), [name, "", name, "0", "", "/", ""])
    if entry is None:
        raise refused(f"unable to find user {name}: no matching entries in passwd file")
    uid, gid, home = _number(entry[2], "user"), _number(entry[3], "group"), entry[5] or "/"
    if group_name:
        found = next((each for each in groups if each[0] == group_name), None)
        if found is None and not group_name.isdecimal():
            raise refused(f"unable to find group {group_name}: no matching entries in group file")
        return Identity(uid=uid, gid=_number(found[2] if found else group_name, "group"), home=home)
    more = {_number(each[2], "group") for each in groups if entry[0] in each[3].split(",")}
    return Identity(uid=uid, gid=gid, groups=tuple(sorted(more - {gid})), home=home)


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or int(text) > 2**31 - 1:
        raise refused(f"{what} id {text} is not between 0 and 2147483647")
    return int(text)


def capabilities_of(spec: ContainerSpec, possible: Iterable[str]) -> list[str]:
    """In the order of their bits."""
    here = set(possible)
    added, dropped = set(map(_capability, spec.capabilities_added)), set(map(_capability, spec.capabilities_dropped))
    if spec.is_privileged:
        return [name for name in CAPABILITIES if name in here]
    missing = sorted(added - here - {"ALL"})
    if missing:
        raise refused(f"the instance itself lacks the capability {missing[0]}")
    wanted = set(CAPABILITIES) if "ALL" in added else set(DEFAULT_CAPABILITIES)
    if "ALL" in dropped:
        wanted = set()
    wanted = (wanted | added) - (dropped - added)
    return [name for name in CAPABILITIES if name in wanted & here]


def refuse_what_reaches_past(spec: ContainerSpec) -> None:
    """ContainerError: more is asked for than is given on an instance that allows no privileged containers.

    A capability like CAP_SYS_ADMIN is the privilege by another name.
    """
    if spec.is_privileged:
        raise refused("privileged containers are not allowed on this instance")
    # Its own network is the container's to set up; the instance's is also its neighbours'.
    harmless = _HARMLESS_CAPABILITIES | ({"CAP_NET_ADMIN"} if spec.network_mode != "host" else set())
    past = sorted(set(map(_capability, spec.capabilities_added)) - harmless)
    if past:
        raise refused(f"the capability {past[0]} is not allowed on this instance, as privileged containers are not")


def refuse_the_agents_own(path: str, *, is_read_only: bool, own: Sequence[str]) -> None:
    """ContainerError: the folder of the instance, without links in its path, is one by which a job would become root there.

    Where privileged containers are allowed nobody asks. `own`: where this agent keeps its things.
    """
    refused_places = (*own, *_SECRET_PLACES, *(() if is_read_only else _POWERFUL_PLACES))
    if path in _OPEN_PLACES:
        return
    for place in refused_places:
        if _is_at_or_below(path, place) or _is_at_or_below(place, path):
            raise refused(
                f"the host path {path} is not given to jobs: it holds what the instance itself runs on ({place})"
            )


def _is_at_or_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _capability(name: str) -> str:
    upper = name.upper()
    full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
    if full != "ALL" and full not in CAPABILITIES:
        raise refused(f'invalid capability: "{name}"')
    return full


def _capability_sets(capabilities: list[str], identity: Identity) -> dict[str, list[str]]:
    """Another user than root has none, and can't come by any but through a file that bears them."""
    held = capabilities if identity.uid == 0 else []
    return {"bounding": capabilities, "effective": held, "permitted": held}


def _environment(spec: ContainerSpec, image: UnpackedImage, hostname: str, identity: Identity) -> dict[str, str]:
    pairs = (each.partition("=") for each in image.environment)
    given = {"PATH": PATH, "HOSTNAME": hostname, **{name: value for name, _, value in pairs}, **spec.environment}
    return given if given.get("HOME") else {**given, "HOME": identity.home}


def _working_directory(spec: ContainerSpec, image: UnpackedImage) -> str:
    chosen = spec.working_directory or image.working_directory or "/"
    if not chosen.startswith("/"):
        raise refused(f"the working directory '{chosen}' is invalid, it needs to be an absolute path")
    return posixpath.normpath(chosen).replace("//", "/")


def hostname_of(spec: ContainerSpec, facts: Facts) -> str:
    """The instance's in its network, else one of the container's own, as with Docker."""
    if spec.hostname:
        return spec.hostname
    if spec.network_mode == "host":
        return facts.hostname
    return hashlib.sha256(spec.container_id.encode()).hexdigest()[:12]


def _namespaces(spec: ContainerSpec, network: str | None) -> list[dict[str, str]]:
    own = [{"type": name} for name in ("pid", "ipc", "uts", "mount", "cgroup")]
    match spec.network_mode:
        case "host":
            return own
        case "none":
            return [*own, {"type": "network"}]
        case "bridge":
            assert network is not None
            return [*own, {"type": "network", "path": network}]


def _sysctls(spec: ContainerSpec) -> dict[str, str]:
    for name in spec.sysctls:
        is_of_network = name.startswith("net.") and spec.network_mode != "host"
        if name not in _IPC_SYSCTLS and not name.startswith("fs.mqueue.") and not is_of_network:
            raise refused(
                f"sysctl '{name}' is not allowed in network mode {spec.network_mode}: it is not the container's"
            )
    return dict(spec.sysctls)


def is_safe_device(path: str) -> bool:
    return posixpath.normpath(path) == path and (path in _SAFE_DEVICES or path.startswith(_SAFE_DEVICE_FOLDERS))


def device_rules(spec: ContainerSpec, devices: Iterable[DeviceNode]) -> tuple[str, ...]:
    """What the container may open, in the words of the devices control group. Everything may be made, as with Docker."""
    permissions = {device.source: device.permissions for device in spec.devices}
    return (
        "c *:* m",
        "b *:* m",
        *(f"c {number} rwm" for number in ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "136:*")),
        *(f"{node.kind} {node.major}:{node.minor} {permissions.get(node.path, 'rwm')}" for node in devices),
    )


def _device(node: DeviceNode, spec: ContainerSpec) -> dict[str, Any]:
    destination = next((each.destination for each in spec.devices if each.source == node.path), "") or node.path
    return {
        "path": destination,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "fileMode": 0o666,
        "uid": 0,
        "gid": 0,
    }


def _rlimits(spec: ContainerSpec, facts: Facts) -> list[dict[str, Any]]:
    asked = {limit.name.lower().removeprefix("rlimit_"): (limit.soft, limit.hard) for limit in spec.ulimits}
    for name, (soft, hard) in asked.items():
        if name not in _ULIMITS:
            raise refused(f"invalid ulimit type: {name}")
        if hard >= 0 and (soft > hard or soft < 0):
            raise refused(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    if "nofile" not in asked:
        asked["nofile"] = (min(_NOFILE[0], facts.nofile_max), min(_NOFILE[1], facts.nofile_max))
    return [
        {"type": f"RLIMIT_{name.upper()}", "soft": _limit(soft), "hard": _limit(hard)}
        for name, (soft, hard) in sorted(asked.items())
    ]


def _limit(value: int) -> int:
    """-1 is Docker's word for no limit."""
    return value if value >= 0 else 2**64 - 1


def _mounts(spec: ContainerSpec, binds: Sequence[Bind], facts: Facts) -> list[dict[str, Any]]:
    access = "rw" if spec.is_privileged else "ro"
    access_to_sys = access if facts.is_root_of_the_host else "ro"
    mounts = {
        "/proc": _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        "/dev": _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        "/dev/pts": _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        "/dev/shm": _mount(
            "/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={spec.shm_mib * 1024}k"
        ),
        "/dev/mqueue": _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        "/sys": _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", access_to_sys),
        "/sys/fs/cgroup": _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", access),
    }
    asked: dict[str, dict[str, Any]] = {}
    for tmpfs in spec.tmpfs:
        for option in tmpfs.options:
            if option.partition("=")[0] not in _TMPFS_OPTIONS:
                raise refused(f'invalid tmpfs option "{option}"')
        # Docker's own, before what was asked for, so that the latter wins.
        options = ["nosuid", "nodev", "noexec", *tmpfs.options, f"size={tmpfs.size_mib * 1024}k"]
        asked[tmpfs.destination] = _mount(tmpfs.destination, "tmpfs", "tmpfs", *_plain(options))
    for bind in binds:
        access = "ro" if bind.is_read_only else "rw"
        asked[bind.destination] = _mount(bind.destination, "bind", bind.source, "rbind", "rprivate", "nodev", access)
    for destination in asked:
        if not destination.startswith("/") or posixpath.normpath(destination) in ("/", "//"):
            raise refused(f"invalid mount path: '{destination}' mount path must be absolute and not `/`")
    # What lies deeper comes later, or the upper one would hide it.
    later = sorted(asked.values(), key=lambda mount: len(_parts(mount["destination"])))
    return [*(mount for place, mount in mounts.items() if place not in asked), *later]


def _plain(options: list[str]) -> list[str]:
    return [option for option in options if option != "defaults"]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


# What a container reads of its surroundings.


def hosts_file(spec: ContainerSpec, hostname: str, instance_hosts: str, address: str = "127.0.0.1") -> str:
    """/etc/hosts: the instance's own in its network, with what was asked for. `address`: of the container elsewhere."""
    lines = (
        [instance_hosts.rstrip("\n")]
        if spec.network_mode == "host"
        else ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", f"{address}\t{hostname}"]
    )
    lines += [f"{address}\t{name}" for name, address in spec.extra_hosts]
    return "\n".join(line for line in lines if line) + "\n"


def resolver_file(spec: ContainerSpec, instance_resolver: str) -> str:
    """/etc/resolv.conf: the instance's own, but for what was asked for."""
    if not spec.dns_servers and not spec.dns_search:
        return instance_resolver
    replaced = {"nameserver"} if spec.dns_servers else set()
    replaced |= {"search", "domain"} if spec.dns_search else set()
    lines = [line for line in instance_resolver.splitlines() if line.split()[:1] and line.split()[0] not in replaced]
    if spec.dns_search:
        lines.append(f"search {' '.join(spec.dns_search)}")
    lines += [f"nameserver {address}" for address in spec.dns_servers]
    return "\n".join(lines) + "\n"
