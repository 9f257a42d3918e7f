"""The effects loop: what the room has written down as wanted is carried out, and the row goes.

Each effect is one transaction: the other rooms' operations, what is learnt from them, and the end of the intent stand or
fall together. An intent that was tried before is carried out again under its own token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.aws.errors import AwsError
from longshore.services.batch import environments, instances, news, store, tasks, troubles
from longshore.services.batch.records import Intent, Kind
from longshore.services.batch.troubles import Later

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.house import House

log = structlog.get_logger("longshore.batch")

_AT_ONCE = 32  # effects in one commit, so that requests are answered between them

# Does what the intent says; None: it is done, or void.
Carry = Callable[["Call", Intent], Later | None]


class Effects:
    """One for all accounts and regions."""

    name = news.EFFECTS

    def __init__(self) -> None:
        self._former: int | None = None  # Intents up to this number are of a former life of the server.
        self._carries: dict[Kind, Carry] = {
            "prepare": environments.prepare,
            "dismantle": environments.dismantle,
            "launch": instances.launch,
            "terminate": instances.terminate,
            "start": self._start,
            "stop": tasks.stop,
        }

    async def tick(self, house: House, now: datetime) -> datetime | None:
        room = house.turn("batch")
        if self._former is None:
            self._former = room.read(lambda call: store.last_intent(call.transaction))
        while due := room.read(lambda call: store.due_intents(call.transaction, milliseconds(call.now), _AT_ONCE)):
            await asyncio.gather(*(self._carry(house, intent) for intent in due))
        next_due = room.read(lambda call: store.next_due(call.transaction))
        return None if next_due is None else from_milliseconds(next_due)

    async def _carry(self, house: House, intent: Intent) -> None:
        turn = house.turn("batch", account=intent.account, region=intent.region)
        try:
            await turn.write(partial(self._carry_out, intent=intent))
        except Exception:
            log.exception("effect failed", kind=intent.kind, subject=intent.subject, tries=intent.tries)
            await turn.write(partial(_postpone, intent=intent, later=troubles.later(intent.tries)))

    def _carry_out(self, call: Call, intent: Intent) -> None:
        if not store.intent_exists(call.transaction, intent.number):
            return
        try:
            later = call.transaction.savepoint(lambda: self._carries[intent.kind](call, intent))
        except AwsError as error:
            log.warning("effect refused", kind=intent.kind, subject=intent.subject, code=error.code, text=error.message)
            later = troubles.later(intent.tries)
        if later is None:
            store.delete_intent(call.transaction, intent.number)
        else:
            _postpone(call, intent, later)

    def _start(self, call: Call, intent: Intent) -> Later | None:
        may_be_repeated = intent.tries > 0 or intent.number <= (self._former or 0)
        return tasks.start(call, intent, may_be_repeated=may_be_repeated)


def _postpone(call: Call, intent: Intent, later: Later) -> None:
    if store.intent_exists(call.transaction, intent.number):
        tried = replace(intent, tries=intent.tries + 1)
        store.postpone_intent(call.transaction, tried, milliseconds(call.now) + later.after_ms)
