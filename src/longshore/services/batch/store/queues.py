"""Job queues. What waits in them: `queued`."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from longshore.services.batch.records import Queue
from longshore.services.batch.store.names import name_of
from longshore.services.batch.store.tables import queues
from longshore.store.engine import Transaction
from longshore.store.statement import Statement, document

_QUEUE = msgspec.json.Decoder(Queue)
_QUEUE_NEW = Statement(insert(queues))
_QUEUE_SAVE = Statement(
    update(queues)
    .where(queues.c.number == bindparam("b_number"))
    .values(document=bindparam("b_document"), version=queues.c.version + 1)
)
_QUEUE_DELETE = Statement(delete(queues).where(queues.c.number == bindparam("number")))
_QUEUE_BY_NUMBER = Statement(select(queues.c.document).where(queues.c.number == bindparam("number")))
_QUEUE_BY_NAME = Statement(
    select(queues.c.document).where(
        queues.c.account == bindparam("account"),
        queues.c.region == bindparam("region"),
        queues.c.name == bindparam("name"),
    )
)
_QUEUE_PAGE = Statement(
    select(queues.c.document)
    .where(
        queues.c.account == bindparam("account"),
        queues.c.region == bindparam("region"),
        queues.c.name > bindparam("after"),
    )
    .order_by(queues.c.name)
    .limit(bindparam("limit"))
)
_QUEUES = Statement(select(queues.c.document).order_by(queues.c.number))


def insert_queue(tx: Transaction, queue: Queue) -> None:
    tx.run(
        _QUEUE_NEW,
        number=queue.number,
        account=queue.account,
        region=queue.region,
        name=queue.name,
        version=1,
        document=document(queue),
    )


def save_queue(tx: Transaction, queue: Queue) -> None:
    tx.known.pop(_QUEUE_BY_NAME, None)
    tx.run(_QUEUE_SAVE, b_number=queue.number, b_document=document(queue))


def delete_queue(tx: Transaction, number: int) -> None:
    tx.known.pop(_QUEUE_BY_NAME, None)
    tx.run(_QUEUE_DELETE, number=number)


def queue(tx: Transaction, number: int) -> Queue | None:
    row = tx.one(_QUEUE_BY_NUMBER, number=number)
    return None if row is None else _QUEUE.decode(row[0])


def queue_named(tx: Transaction, account: str, region: str, name_or_arn: str) -> Queue | None:
    """Read once for all submissions of one commit."""
    name = name_of(account, region, name_or_arn, "job-queue")
    if not name:
        return None
    named: dict[Any, Queue] = tx.known.setdefault(_QUEUE_BY_NAME, {})
    found = named.get((account, region, name))
    if found is None:
        row = tx.one(_QUEUE_BY_NAME, account=account, region=region, name=name)
        if row is not None:
            found = named[account, region, name] = _QUEUE.decode(row[0])
    return found


def queues_page(tx: Transaction, account: str, region: str, after: str, limit: int) -> list[Queue]:
    rows = tx.all(_QUEUE_PAGE, account=account, region=region, after=after, limit=limit)
    return [_QUEUE.decode(row[0]) for row in rows]


def all_queues(tx: Transaction) -> list[Queue]:
    return [_QUEUE.decode(row[0]) for row in tx.all(_QUEUES)]
