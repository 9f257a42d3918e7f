"""Where the server of a state folder answers: written when it is ready, for the commands of the same user."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from longshore.server.keys import replace_file
from longshore.settings import Settings


class Whereabouts(Struct, frozen=True):
    host: str = "127.0.0.1"
    port: int = 4570
    region: str = "us-east-1"
    account: str = "123456789012"  # the first, whose keys lie beside it

    @property
    def endpoint(self) -> str:
        # A server on all addresses is reached at loopback from here.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def write_whereabouts(state: Path, settings: Settings) -> None:
    there = Whereabouts(settings.host, settings.port, settings.region, settings.account)
    replace_file(state / "server.json", msgspec.json.encode(there))


def read_whereabouts(state: Path) -> Whereabouts:
    """The defaults when no server was started with the folder yet."""
    try:
        return msgspec.json.decode((state / "server.json").read_bytes(), type=Whereabouts)
    except (FileNotFoundError, PermissionError):
        return Whereabouts()
