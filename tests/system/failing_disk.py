"""The `longshore` command on a disk that fails when it is told to: after SIGUSR1 no fsync succeeds any more.

A seccomp filter answers EIO in the kernel's place, for all threads of the process; what is written is written as before.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct

_NUMBERS = {"x86_64": (0xC000003E, (74, 75)), "aarch64": (0xC00000B7, (82, 83))}  # audit arch; fsync, fdatasync
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO_EIO = 0x7FFF0000, 0x00050000 | 5
_NO_NEW_PRIVS, _SECCOMP, _FILTER, _ALL_THREADS = 38, {"x86_64": 317, "aarch64": 277}, 1, 1


def fail_from_now_on(*_: object) -> None:
    machine = platform.machine()
    arch, calls = _NUMBERS[machine]
    program = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 4, arch),
        (_LOAD, 0, 0, 0),
        (_EQUAL, 1, 0, calls[0]),
        (_EQUAL, 0, 1, calls[1]),
        (_RETURN, 0, 0, _ERRNO_EIO),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code)
    described = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    failed = libc.syscall(_SECCOMP[machine], _FILTER, _ALL_THREADS, ctypes.create_string_buffer(described))
    assert failed == 0, os.strerror(ctypes.get_errno())


if __name__ == "__main__":
    from longshore.__main__ import main

    signal.signal(signal.SIGUSR1, fail_from_now_on)
    main()
