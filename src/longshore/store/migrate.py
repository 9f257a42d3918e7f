"""Tables come into being and change here; a database knows its own age.

A new database is made whole from the rooms' tables and stamped with the newest revision. An older one is brought forward
step by step, in one transaction: a crash on the way leaves it as it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from longshore.store.statement import METADATA

REVISION = 1  # of the tables; the first release's

# Revision -> the statements that make it of the one before. New tables and indices need none: they are made at any start.
CHANGES: Mapping[int, Sequence[str]] = {}


class DatabaseTooNew(Exception):
    """The database was written by a later Longshore."""


_ddl: dict[frozenset[str], list[str]] = {}


def prepare(connection: sqlite3.Connection) -> None:
    """Brings the database to this revision. DatabaseTooNew: it is from a later one; nothing was changed."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > REVISION:
        raise DatabaseTooNew(f"the database is of revision {found}, this Longshore knows {REVISION}; use a newer one")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if found:  # 0: a new database
            for revision in range(found + 1, REVISION + 1):
                for sql in CHANGES[revision]:
                    connection.execute(sql)
        # Every table is `IF NOT EXISTS`: a room that is new in this release finds its tables made, at the same revision.
        for sql in _statements():
            connection.execute(sql)
        connection.execute(f"PRAGMA user_version={REVISION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements() -> list[str]:
    names = frozenset(METADATA.tables)
    if names not in _ddl:
        dialect = sqlite.dialect()
        statements = []
        for table in METADATA.sorted_tables:
            statements.append(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)))
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                statements.append(str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)))
        _ddl[names] = statements
    return _ddl[names]
