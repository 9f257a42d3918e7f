"""A database whose server may die at any commit: before it, so that nothing of it is kept, or right after it, so that it is
kept and nobody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

from longshore.store.engine import SqliteStore, Transaction

T = TypeVar("T")
Moment = Literal["before", "after"]


class Dead(Exception):
    """The server that asks has died: its work must not go on."""


class CrashingStore(SqliteStore):
    """One life of a server's store, over a connection that outlives it.

    `on_commit(number)` is asked at each commit when, if at all, the server dies there; `on_death` is called once, before
    anything else can run. `on_change` is called after each commit that was carried through.
    """

    def __init__(
        self,
        connection: Any,
        *,
        on_commit: Callable[[], Moment | None],
        on_death: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(connection, connection, durable=False)
        self._on_commit = on_commit
        self._on_death = on_death
        self._on_change = on_change
        self.is_dead = False

    def read(self, function: Callable[[Transaction], T]) -> T:
        if self.is_dead:
            raise Dead
        return super().read(function)

    def write(self, function: Callable[[Transaction], T]) -> Awaitable[T]:
        if self.is_dead:
            raise Dead
        return super().write(function)

    def die(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self._on_death()

    def close(self) -> None:
        """The connection is the disk: it stays."""

    def _run_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.is_dead:
            super()._run_batch(loop)

    def _commit(self) -> BaseException | None:
        moment = self._on_commit()
        if moment == "before":
            self._writer.execute("ROLLBACK")
            self.die()
            return None
        failure = super()._commit()
        if moment == "after":
            self.die()
        return failure

    def _finish(self, loop: Any, answers: Any, transaction: Any, failure: Any) -> None:
        if not self.is_dead:
            super()._finish(loop, answers, transaction, failure)
            self._on_change()
            return
        # Nobody hears of the commit at which the server died: no answer, no callback, no event.
        for future in [answer[0] for answer in answers] + [waiting[1] for waiting in self._waiting]:
            future.cancel()
        self._waiting.clear()
