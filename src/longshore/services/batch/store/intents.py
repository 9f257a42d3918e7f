"""Intents: what is to be done outside, until it is done."""

from __future__ import annotations

from typing import cast

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from longshore.services.batch.records import Intent
from longshore.services.batch.store.tables import intents
from longshore.store.engine import Transaction
from longshore.store.statement import Statement, document

_INTENT = msgspec.json.Decoder(Intent)
_INTENT_NEW = Statement(insert(intents))
_INTENT_SAVE = Statement(
    update(intents)
    .where(intents.c.number == bindparam("b_number"))
    .values(due_at=bindparam("b_due_at"), document=bindparam("b_document"), version=intents.c.version + 1)
)
_INTENT_DELETE = Statement(delete(intents).where(intents.c.number == bindparam("number")))
_INTENTS_DUE = Statement(
    select(intents.c.document)
    .where(intents.c.due_at <= bindparam("now"))
    .order_by(intents.c.due_at, intents.c.number)
    .limit(bindparam("limit"))
)
_INTENT_NEXT = Statement(select(func.min(intents.c.due_at)))
_INTENT_LAST = Statement(select(func.coalesce(func.max(intents.c.number), 0)))
_INTENTS_OF = Statement(
    select(intents.c.document).where(intents.c.kind == bindparam("kind"), intents.c.subject == bindparam("subject"))
)
_INTENT_BY_NUMBER = Statement(select(intents.c.document).where(intents.c.number == bindparam("number")))
_INTENTS_HASTEN = Statement(
    update(intents)
    .where(intents.c.account == bindparam("b_account"), intents.c.due_at > bindparam("b_now"))
    .values(due_at=bindparam("b_due_at"))
)


def insert_intent(tx: Transaction, intent: Intent, due_at: int) -> None:
    tx.run(
        _INTENT_NEW,
        number=intent.number,
        token=intent.token,
        kind=intent.kind,
        subject=intent.subject,
        account=intent.account,
        due_at=due_at,
        version=1,
        document=document(intent),
    )


def postpone_intent(tx: Transaction, intent: Intent, due_at: int) -> None:
    tx.run(_INTENT_SAVE, b_number=intent.number, b_due_at=due_at, b_document=document(intent))


def delete_intent(tx: Transaction, number: int) -> None:
    tx.run(_INTENT_DELETE, number=number)


def due_intents(tx: Transaction, now: int, limit: int) -> list[Intent]:
    return [_INTENT.decode(row[0]) for row in tx.all(_INTENTS_DUE, now=now, limit=limit)]


def next_due(tx: Transaction) -> int | None:
    return cast("int | None", tx.one(_INTENT_NEXT)[0])


def last_intent(tx: Transaction) -> int:
    """The highest number of an intent that there is; 0: there is none."""
    return int(tx.one(_INTENT_LAST)[0])


def intents_of(tx: Transaction, kind: str, subject: int) -> list[Intent]:
    return [_INTENT.decode(row[0]) for row in tx.all(_INTENTS_OF, kind=kind, subject=subject)]


def intent_exists(tx: Transaction, number: int) -> bool:
    return tx.one(_INTENT_BY_NUMBER, number=number) is not None


def hasten_intents(tx: Transaction, account: str, now: int) -> int:
    """Makes due at once what waits for its next try; how many."""
    return tx.run(_INTENTS_HASTEN, b_account=account, b_now=now, b_due_at=now)
