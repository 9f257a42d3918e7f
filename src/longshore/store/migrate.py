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

REVISION = 2  # of the tables

# Revision -> the statements that make it of the one before. New tables and indices need none: they are made at any start.
CHANGES: Mapping[int, Sequence[str]] = {
    2: (
        # The record of calls: blocks of calls where each had a row. What was in one becomes a block of one.
        """
        CREATE TABLE cloudtrail_blocks (
            number INTEGER NOT NULL PRIMARY KEY, account VARCHAR NOT NULL, region VARCHAR NOT NULL,
            first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, calls INTEGER NOT NULL, bytes INTEGER NOT NULL,
            words VARCHAR NOT NULL, text VARCHAR NOT NULL
        )
        """,
        """
        INSERT INTO cloudtrail_blocks (number, account, region, first_at, last_at, calls, bytes, words, text)
        SELECT sequence, account, region, at, at, 1, length(text), words, text FROM (
            SELECT *,
                char(10) || 'i:' || event_id || char(10) || 'k:' || access_key_id || char(10) || 'n:' || name || char(10)
                    || 'o:' || read_only || char(10) || 'r:' || resource || char(10) || 's:' || source || char(10)
                    || 'u:' || user || char(10) AS words,
                json_array(
                    json_array(json_array(json_extract(CAST(body AS TEXT), '$.userIdentity'), user, access_key_id)),
                    json_array(''),
                    json_array(json_array(
                        at, '', 0, 0, '', replace(source, '.amazonaws.com', ''), name, json(read_only), resource,
                        NULL, NULL, NULL, NULL, event_id, json(CAST(body AS TEXT))
                    ))
                ) AS text
            FROM cloudtrail_events
        )
        """,
        "DROP TABLE cloudtrail_events",
    ),
}


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
