"""Which supervisor this is: what it says, and how it makes instances, follows from the pages it was started from."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import longshore.host
import longshore.supervisor

# Of `longshore.host`, what the supervisor is made of.
_HOST = ("cgroups", "firewall", "lines", "links", "loops", "mounts", "namespaces", "processes", "supervised")


@functools.cache
def version() -> str:
    """Another one after each change, so that a server puts its own in the place of an older one that is at work."""
    host, own = Path(longshore.host.__path__[0]), Path(longshore.supervisor.__path__[0])
    digest = hashlib.sha256()
    for page in (*(host / f"{name}.py" for name in _HOST), *sorted(own.glob("*.py"))):
        digest.update(page.read_bytes())
    return digest.hexdigest()[:16]
