"""SQL statements: written once with SQLAlchemy Core, compiled once, run on the bare driver.

A keyed select through SQLAlchemy's own execution costs 66 us, a compiled one on the driver 9 us; what the library gives
here is the language of two databases, not the call.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.expression import Executable

METADATA = MetaData()  # every room's tables; one prefix a room

_DIALECT = sqlite.dialect(paramstyle="named")


class Statement:
    """A constant statement. Parameters are the `bindparam` names; an insert's are its columns."""

    __slots__ = ("_source", "_sql")

    def __init__(self, source: Executable) -> None:
        self._source = source
        self._sql: str | None = None

    @property
    def sql(self) -> str:
        if self._sql is None:
            self._sql = _with_constants(self._source)
        return self._sql


def _with_constants(source: Executable) -> str:
    """The SQL, with the constants of the expression (`== "ACTIVE"`, `limit(1)`, `in_((..))`) written into it."""
    compiled = source.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
    sql = str(compiled)
    for name, value in compiled.params.items():
        if isinstance(value, (list, tuple)):
            sql = sql.replace(f"__[POSTCOMPILE_{name}]", ", ".join(_literal(each) for each in value))
        elif value is not None:  # None: a parameter of the caller's
            sql = re.sub(rf":{re.escape(name)}\b", _literal(value).replace("\\", r"\\"), sql)
    return sql


def _literal(value: str | int) -> str:
    return str(int(value)) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def document(record: Any) -> bytes:
    """A record as it is kept: JSON."""
    import msgspec

    return msgspec.json.encode(record)
