"""Numbers that are never given twice."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from longshore.services.batch.store.tables import sequences
from longshore.store.engine import Transaction
from longshore.store.statement import Statement

_NUMBER = Statement(select(sequences.c.value).where(sequences.c.name == bindparam("name")))
_FIRST_NUMBER = Statement(insert(sequences).values(name=bindparam("name"), value=bindparam("value")))
_NEXT_NUMBER = Statement(
    update(sequences).where(sequences.c.name == bindparam("b_name")).values(value=sequences.c.value + 1)
)


def next_number(tx: Transaction, name: str) -> int:
    """1, 2, 3 ...; a number that was given is never given again."""
    if not tx.run(_NEXT_NUMBER, b_name=name):
        tx.run(_FIRST_NUMBER, name=name, value=1)
    return int(tx.one(_NUMBER, name=name)[0])
