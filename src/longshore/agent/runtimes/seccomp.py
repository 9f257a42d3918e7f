"""System calls that a container may not make. Pure: tables, and the filter made of them.

What is listed is refused, the rest is allowed: the calls that reach the kernel itself, the clock, mounts, other namespaces,
keys, tracing and the machine's hardware. Who was given the capability that a call asks for may make it. An allow-list would
be tighter, and would break jobs on every new system call; capabilities, masks and namespaces stand behind this one.
Source: Docker's documentation, "Seccomp security profiles for Docker", the table of significant blocked calls.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_EPERM = 1
_ENOSYS = 38

# Refused whatever the container's capabilities.
_NEVER = (
    "_sysctl",
    "add_key",
    "create_module",
    "get_kernel_syms",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "nfsservctl",
    "query_module",
    "request_key",
    "stime",
    "sysfs",
    "uselib",
    "userfaultfd",
    "ustat",
    "vm86",
    "vm86old",
)

# Refused without the capability.
_UNLESS: dict[str, tuple[str, ...]] = {
    "CAP_SYS_ADMIN": (
        "fanotify_init",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "lookup_dcookie",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "pivot_root",
        "quotactl",
        "quotactl_fd",
        "setns",
        "swapoff",
        "swapon",
        "umount",
        "umount2",
        "unshare",
    ),
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYSLOG": ("syslog",),
    "CAP_SYS_BOOT": ("kexec_file_load", "kexec_load", "reboot"),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp",),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_adjtime", "clock_settime", "settimeofday"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
}
# SYS_ADMIN stands for these too, as in the kernel.
_PARTS_OF_SYS_ADMIN = ("CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG")

# clone(2): mount, cgroup, UTS, IPC, user, PID and network namespaces.
_NEW_NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
_FILE_KIND = 0o170000
_BLOCK_DEVICE, _CHARACTER_DEVICE = 0o060000, 0o020000
_AF_ALG, _AF_VSOCK = 38, 40
_AF_INET, _AF_INET6, _AF_PACKET = 2, 10, 17
_SOCKET_KIND = 0xF  # Above it are SOCK_CLOEXEC and SOCK_NONBLOCK.
_SOCK_RAW, _SOCK_PACKET = 3, 10
_ICMP, _ICMPV6 = 1, 58
_SYS_SOCKET = 1  # socketcall(2)

_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}


def seccomp_filter(capabilities: Collection[str], machine: str, *, shares_network: bool = False) -> dict[str, Any]:
    """`linux.seccomp` of a container with these capabilities (CAP_...) on a machine as `uname -m` calls it.

    `shares_network`: with its instance and the other containers there, in network mode host.
    """
    held = set(capabilities)
    if "CAP_SYS_ADMIN" in held:
        held.update(_PARTS_OF_SYS_ADMIN)
    refused = [*_NEVER, *(name for capability, names in _UNLESS.items() if capability not in held for name in names)]
    rules: list[dict[str, Any]] = [_refuse(sorted(refused))]
    if "CAP_SYS_ADMIN" not in held:
        rules += [_refuse(["clone"], _has_bits(0, bits)) for bits in _NEW_NAMESPACES]
        # Its flags lie in memory where a filter can't look; libraries fall back to clone on this answer.
        rules.append(_refuse(["clone3"], errno=_ENOSYS))
    for kind in (_BLOCK_DEVICE, _CHARACTER_DEVICE):
        # On v2 there is no list of allowed devices behind it (see cgroups.py), so the node is not made at all.
        rules += [
            _refuse(["mknod"], _is_under_mask(1, _FILE_KIND, kind)),
            _refuse(["mknodat"], _is_under_mask(2, _FILE_KIND, kind)),
        ]
    rules += [_refuse(["socket"], _is(0, family)) for family in (_AF_ALG, _AF_VSOCK)]
    if shares_network and "CAP_NET_ADMIN" not in held:
        rules += _listening_in()
    known = _ARCHITECTURES.get(machine)
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        **({"architectures": known} if known else {}),
        "syscalls": rules,
    }


def _listening_in() -> list[dict[str, Any]]:
    """Sockets that see what others send: in a shared network, the credentials that the agent answers the neighbour with.

    CAP_NET_RAW alone would allow them. It stays, since ping needs it.
    """
    return [
        _refuse(["socket"], _is(0, _AF_PACKET)),
        _refuse(["socket"], _is(0, _AF_INET), _is_under_mask(1, _SOCKET_KIND, _SOCK_PACKET)),
        *(
            _refuse(["socket"], _is(0, family), _is_under_mask(1, _SOCKET_KIND, _SOCK_RAW), _is_not(2, protocol))
            for family, protocol in ((_AF_INET, _ICMP), (_AF_INET6, _ICMPV6))
        ),
        # The same call of 32-bit programs of before 2016, its arguments where a filter can't look.
        _refuse(["socketcall"], _is(0, _SYS_SOCKET)),
    ]


def _refuse(names: list[str], *arguments: dict[str, Any], errno: int = _EPERM) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno}
    return {**rule, "args": list(arguments)} if arguments else rule


def _is(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def _is_not(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_NE"}


def _is_under_mask(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _has_bits(index: int, bits: int) -> dict[str, Any]:
    return _is_under_mask(index, bits, bits)
