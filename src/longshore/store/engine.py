"""Connections, snapshots and group commit.

One thread runs everything: handlers are short Python, so a thread of their own would buy no parallelism, only locks. What
takes time in a write is the disk, and that alone happens elsewhere: the writer takes whatever requests wait, runs each in
its own savepoint, hands the COMMIT to a thread, and answers all when the disk has answered. Meanwhile reads go on, on a
connection of their own that sees the last committed state.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from longshore.store import migrate
from longshore.store.statement import Statement
from longshore.store.witness import Witness

T = TypeVar("T")
Work = Callable[["Transaction"], Any]

_BATCH = 128  # requests in one commit at most, so that a crowd of writers leaves room for readers


class TransactionLost(Exception):
    """The database has rolled the whole transaction back by itself, as it does on a full disk: nothing of it is kept."""


class Transaction:
    """What a handler sees of the database, for as long as it runs.

    `known` keeps what was read and is asked for again and again: for as long as a snapshot lasts, or one commit of the
    writer. Who changes a thing that is kept there keeps its new value; a roll-back forgets everything.
    """

    __slots__ = ("_callbacks", "_connection", "_steps", "_uncovered", "known", "writable")

    def __init__(self, connection: sqlite3.Connection, *, writable: bool, known: dict[Any, Any] | None = None) -> None:
        self._connection = connection
        self._callbacks: list[Callable[[], None]] = []
        self._steps: list[
            bool
        ] = []  # the savepoints that are running, the outermost first: whether one is open for each
        self._uncovered = 0  # how many of them, the innermost, have written nothing and are not open yet
        self.known: dict[Any, Any] = {} if known is None else known
        self.writable = writable

    def one(self, statement: Statement, **parameters: Any) -> Any:
        """The first row, a tuple; None: there is none."""
        return self._connection.execute(statement.sql, parameters).fetchone()

    def all(self, statement: Statement, **parameters: Any) -> list[Any]:
        return self._connection.execute(statement.sql, parameters).fetchall()

    def run(self, statement: Statement, **parameters: Any) -> int:
        """Changes rows; how many it changed."""
        self._check_writable()
        return self._connection.execute(statement.sql, parameters).rowcount

    def insert(self, statement: Statement, **parameters: Any) -> int:
        """Inserts a row; its integer key."""
        self._check_writable()
        return self._connection.execute(statement.sql, parameters).lastrowid or 0

    def many(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> int:
        self._check_writable()
        return self._connection.executemany(statement.sql, list(rows)).rowcount

    def _check_writable(self) -> None:
        assert self.writable, "a read wrote"
        if not self._connection.in_transaction:
            raise TransactionLost  # What is written now would be kept on its own, whatever becomes of the rest.
        if self._uncovered:
            # One serves them all: nothing was written between the beginning of the outermost of them and now.
            self._connection.execute("SAVEPOINT step")
            self._steps[-self._uncovered] = True
            self._uncovered = 0

    def after_commit(self, function: Callable[[], None]) -> None:
        """Runs once the change is durable; never after a roll-back."""
        self._callbacks.append(function)

    def savepoint(self, function: Callable[[], T]) -> T:
        """Runs `function`; when it raises, its writes and callbacks are undone and the transaction goes on.

        One is opened in the database with the first write in it: an open savepoint makes every page that is written
        dearer, and most of those that lie within each other begin at the same point.
        """
        if not self.writable:
            return function()
        if not self._connection.in_transaction:
            raise TransactionLost
        kept = len(self._callbacks)
        self._steps.append(False)
        self._uncovered += 1
        try:
            result = function()
        except BaseException:
            self._undo()
            del self._callbacks[kept:]
            raise
        if not self._connection.in_transaction:
            self._undo()
            raise TransactionLost  # `function` may have taken the loss for an error like others.
        if self._uncovered:
            self._uncovered -= 1
        if self._steps.pop():
            self._connection.execute("RELEASE step")
        return result

    def _undo(self) -> None:
        """Ends the innermost savepoint, and takes back what was written since it began."""
        is_open = self._steps.pop()
        if self._uncovered:
            self._uncovered -= 1  # Nothing was.
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK TO step")
            if is_open:
                self._connection.execute("RELEASE step")
        self.known.clear()

    def take_callbacks(self) -> list[Callable[[], None]]:
        callbacks, self._callbacks = self._callbacks, []
        return callbacks


class Store(Protocol):
    def write(self, function: Callable[[Transaction], T]) -> Awaitable[T]: ...
    def read(self, function: Callable[[Transaction], T]) -> T: ...
    def write_now(self, function: Callable[[Transaction], T]) -> T: ...
    def close(self) -> None: ...


class SqliteStore:
    """SQLite in WAL mode with full synchronisation: acknowledged means durable.

    `durable` False leaves the fsync out: for a database in memory, which has none.
    """

    def __init__(
        self,
        writer: sqlite3.Connection,
        reader: sqlite3.Connection,
        *,
        durable: bool,
        witness: Witness | None = None,  # None: nothing could be lost that would have to be told
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._durable = durable
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._committing = False  # a batch is to be run, or being run
        self._is_writing = False  # a batch is being run: from its BEGIN until its COMMIT has returned
        self._loop: asyncio.AbstractEventLoop  # that of the batch which is being run
        self._is_ending = False  # the snapshot ends with this turn of the event loop
        self._snapshot: dict[Any, Any] | None = None  # what is known of the reader's snapshot; None: it has none
        self._pool = ThreadPoolExecutor(1, "commit") if durable else None
        self._witness = witness
        self._broken: BaseException | None = None
        # Called once when the disk has failed, before those who wait for their commit hear of it. What was promised is
        # still there; what the disk will say next is not to be believed, so this process is to end.
        self.on_broken: Callable[[BaseException], None] | None = None

    def read(self, function: Callable[[Transaction], T]) -> T:
        """Runs `function` on a snapshot, at once, in place: a hop to a thread costs more than a keyed read.

        While nothing is written all reads share one snapshot. Beside a commit those of one turn of the event loop do: a
        snapshot that stays open across commits would keep SQLite from ever starting its log anew.
        """
        if self._reader is self._writer:
            return function(Transaction(self._reader, writable=False))
        if self._snapshot is None:
            self._reader.execute("BEGIN")
            self._snapshot = {}
        try:
            return function(Transaction(self._reader, writable=False, known=self._snapshot))
        finally:
            if self._is_writing and not self._is_ending:
                self._is_ending = True
                self._loop.call_soon(self._end_snapshot)

    def _end_snapshot(self) -> None:
        self._is_ending = False
        if self._snapshot is not None:
            self._snapshot = None
            self._reader.execute("COMMIT")

    def write(self, function: Callable[[Transaction], T]) -> Awaitable[T]:
        """Runs `function` in the next commit; the result when that commit is durable.

        What `function` raises is raised here, and nothing of it is kept. When the commit itself fails, all who waited
        for it get that error.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((function, future))
        if not self._committing:
            self._committing = True
            loop.call_soon(self._run_batch, loop)
        return future

    def write_now(self, function: Callable[[Transaction], T]) -> T:
        """A write for the start of the house and for tests, outside the loop. Never while requests are served."""
        assert not self._committing, "write_now beside running writes"
        self._end_snapshot()
        self._writer.execute("BEGIN IMMEDIATE")
        transaction = Transaction(self._writer, writable=True)
        try:
            result = function(transaction)
            self._writer.execute("COMMIT")
            if self._witness is not None:
                self._witness.note()
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        for callback in transaction.take_callbacks():
            callback()
        return result

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._end_snapshot()
        if self._witness is not None:
            self._witness.end(is_whole=self._broken is None)
        if self._reader is not self._writer:
            self._reader.close()
        self._writer.close()
        if self._witness is not None:
            self._witness.forget()

    def _run_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        answers: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        transaction = Transaction(self._writer, writable=True)
        self._end_snapshot()
        self._loop, self._is_writing = loop, True
        failure = self._begin()
        while self._waiting and len(answers) < _BATCH:
            function, future = self._waiting.popleft()
            if future.cancelled():
                continue
            if failure is not None:
                answers.append((future, None, None))
                continue
            try:
                answers.append((future, transaction.savepoint(partial(function, transaction)), None))
            except Exception as error:
                answers.append((future, None, error))
                if not self._writer.in_transaction:
                    failure = error
                    break
        if failure is not None:
            self._finish(loop, answers, transaction, failure)
            return
        if self._pool is None:
            self._finish(loop, answers, transaction, self._commit())
        else:
            committed = loop.run_in_executor(self._pool, self._commit)
            committed.add_done_callback(lambda done: self._finish(loop, answers, transaction, done.result()))

    def _begin(self) -> BaseException | None:
        if self._broken is not None:
            return self._broken
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return error
        return None

    def _commit(self) -> BaseException | None:
        try:
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            return error
        if self._witness is not None:
            self._witness.note()
        return None

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        answers: list[tuple[asyncio.Future[Any], Any, BaseException | None]],
        transaction: Transaction,
        failure: BaseException | None,
    ) -> None:
        self._is_writing = False
        if failure is not None and self._broken is None and _is_of_the_disk(failure):
            self._broken = failure
            if self.on_broken is not None:
                self.on_broken(failure)
        if failure is None:
            for callback in transaction.take_callbacks():
                try:
                    callback()
                except Exception as fault:
                    # The change is durable and its callers must hear so, whatever a cache or a waker thinks of it.
                    loop.call_exception_handler({"message": "a callback after commit failed", "exception": fault})
        for future, result, error in answers:
            if future.done():
                continue
            if failure is not None or error is not None:
                future.set_exception(failure or error or AssertionError())
            else:
                future.set_result(result)
        if self._waiting:
            loop.call_soon(self._run_batch, loop)
        else:
            self._committing = False


def _is_of_the_disk(error: BaseException) -> bool:
    """Whether the disk failed; that it is full is something else, and passes.

    After a sync that failed the kernel may take for written what is not, and the next sync succeeds: whoever goes on then
    acknowledges what is lost.
    """
    name = getattr(error, "sqlite_errorname", "")
    # The index of the log can't be made longer where the disk is full, and is made anew at the next start.
    return name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")) and not name.startswith(
        "SQLITE_IOERR_SHM"
    )


def open_store(path: Path | None) -> SqliteStore:
    """Opens the database, making or migrating its tables. `path` None: in memory, forgotten at the end. LogIsTorn.

    The tables are those of the rooms that were imported before.
    """
    if path is None:
        connection = _connect(":memory:")
        migrate.prepare(connection)
        return SqliteStore(connection, connection, durable=False)
    witness = Witness(path)
    witness.check()
    writer = _connect(str(path))
    try:
        path.chmod(0o600)
        migrate.prepare(writer)
        writer.execute("PRAGMA journal_mode=WAL")
        witness.begin()
        witness.note()
    except BaseException:
        writer.close()
        witness.forget()
        raise
    reader = _connect(str(path))
    reader.execute("PRAGMA query_only=ON")
    return SqliteStore(writer, reader, durable=True, witness=witness)


def _connect(path: str) -> sqlite3.Connection:
    # Autocommit: BEGIN and SAVEPOINT are ours. One connection is used by one thread at a time, not always the same.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection
