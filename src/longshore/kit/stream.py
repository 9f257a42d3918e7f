"""The agent's websockets, as the rooms see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from longshore.kit.house import House, Turn


class StreamSession(Protocol):
    """One accepted stream: handshake signed, verified and authorized."""

    house: House
    turn: Turn  # who speaks: principal, account, region, endpoint; `turn.write(fn)`, `turn.read(fn)`
    query: Mapping[str, str]  # the handshake's query string, `+` read as a space

    async def send(self, text: str) -> None: ...

    async def receive(self) -> str | None:
        """The next text frame; None when the other side is gone."""
        ...

    async def close(self, code: int = 1000) -> None: ...

    def is_allowed(self) -> bool:
        """Whether the handshake would be let in now, as policies stand. That it would not is told to the trail."""
        ...
