"""Array jobs: what is known of the children that have no row."""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, insert, select, update

from longshore.services.batch import arrays as children
from longshore.services.batch.records import Array, Job
from longshore.services.batch.store.rows import JOB, JOB_BY_NUMBER
from longshore.services.batch.store.tables import arrays
from longshore.store.engine import Transaction
from longshore.store.statement import Statement, document

ARRAY = msgspec.json.Decoder(Array)
_ARRAY_NEW = Statement(insert(arrays))
_ARRAY_SAVE = Statement(
    update(arrays)
    .where(arrays.c.number == bindparam("b_number"))
    .values(
        ready=bindparam("b_ready"), busy=bindparam("b_busy"), document=bindparam("b_document"),
        version=arrays.c.version + 1,
    )
)  # fmt: skip
_ARRAY_BY_NUMBER = Statement(select(arrays.c.document).where(arrays.c.number == bindparam("number")))
_ARRAY_ABOVE = Statement(
    select(arrays.c.document).where(arrays.c.number > bindparam("number")).order_by(arrays.c.number).limit(1)
)
_BUSY_ARRAY = Statement(select(arrays.c.document).where(arrays.c.busy > 0).order_by(arrays.c.number).limit(1))


def insert_array(tx: Transaction, one: Array) -> None:
    tx.run(
        _ARRAY_NEW,
        number=one.number,
        queue=one.queue,
        ready=children.bits(one.ready).bit_count(),
        busy=int(one.is_busy),
        version=1,
        document=document(one),
    )


def save_array(tx: Transaction, one: Array) -> None:
    ready = children.bits(one.ready).bit_count()
    tx.run(_ARRAY_SAVE, b_number=one.number, b_ready=ready, b_busy=int(one.is_busy), b_document=document(one))
    known_arrays(tx)[one.number] = one


def array(tx: Transaction, number: int) -> Array:
    """The children of the job of that number, which is an array's parent. Read once in a commit."""
    found = known_arrays(tx).get(number)
    if found is None:
        found = known_arrays(tx)[number] = ARRAY.decode(tx.one(_ARRAY_BY_NUMBER, number=number)[0])
    return found


def parent(tx: Transaction, number: int) -> Job:
    """The parent of an array. Read once in a commit."""
    found = known_parents(tx).get(number)
    if found is None:
        found = known_parents(tx)[number] = JOB.decode(tx.one(JOB_BY_NUMBER, number=number)[0])
    return found


def known_arrays(tx: Transaction) -> dict[int, Array]:
    """Those that were read in this commit, by the numbers of their parents."""
    found: dict[int, Array] = tx.known.setdefault(_ARRAY_BY_NUMBER, {})
    return found


def known_parents(tx: Transaction) -> dict[int, Job]:
    """The parents that were read in this commit, by number. Who saves one takes it out."""
    found: dict[int, Job] = tx.known.setdefault(JOB_BY_NUMBER, {})
    return found


def without_row(tx: Transaction, number: int) -> Job | None:
    """The child of that number, which has no row. None: there is no such job."""
    siblings = next((each for each in known_arrays(tx).values() if each.first <= number < each.number), None)
    if siblings is None:
        row = tx.one(_ARRAY_ABOVE, number=number)
        siblings = None if row is None else ARRAY.decode(row[0])
        if siblings is None or number < siblings.first:
            return None
        known_arrays(tx)[siblings.number] = siblings
    return children.child(parent(tx, siblings.number), siblings, number - siblings.first)


def busy_array(tx: Transaction) -> Array | None:
    """One whose children are to be gone through."""
    row = tx.one(_BUSY_ARRAY)
    return None if row is None else ARRAY.decode(row[0])
