"""From the outbox to those who hear: each room takes events in at its own pace, each in a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import msgspec
import structlog

from longshore.kit.call import Call
from longshore.kit.event import Event
from longshore.kit.house import House
from longshore.kit.service import Service
from longshore.store import outbox
from longshore.store.engine import Transaction, TransactionLost

log = structlog.get_logger("longshore.events")

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Event)
_BATCH = 64
_TRIM_EVERY = 500
_AFTER_FAILURE_SECONDS = 1.0


class Outbox:
    """Writes events in the transaction of what they tell, and wakes the deliveries when it is committed.

    What no room hears is not written, nor what no room's rule lets through: a new subscriber hears what happens from then on.
    """

    def __init__(self, house: House, rooms: Iterable[Service]) -> None:
        self._house = house
        self._heard: dict[str, list[Mapping[str, frozenset[str]]]] = {}  # detail type -> the patterns of who hears it
        for room in rooms:
            for detail_type in room.subscriptions:
                self._heard.setdefault(detail_type, []).append(room.patterns[detail_type])

    def hears(self, detail_type: str, facts: Mapping[str, str] = MappingProxyType({})) -> bool:
        """`facts`: what is known of the event before its detail is made."""
        for pattern in self._heard.get(detail_type, ()):
            for name, values in pattern.items():
                if name in facts and facts[name] not in values:
                    break
            else:
                return True
        return False

    def append(self, transaction: Transaction, event: Event) -> None:
        if event.detail_type not in self._heard:
            return
        outbox.append(transaction, event.detail_type, _ENCODER.encode(event))
        transaction.after_commit(lambda: self._house.wake("events"))


class Delivery:
    """Hands the events of the outbox to one room. Runs until cancelled."""

    def __init__(self, house: House, room: Service, subscribers: Collection[str] = ()) -> None:
        """`subscribers`: the names of all rooms that hear anything; empty: of others nothing is known."""
        self._house = house
        self._room = room
        self._subscribers = subscribers
        self._has_begun = False
        self._news = asyncio.Event()
        self._taken = 0

    def notify(self) -> None:
        self._news.set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            try:
                if not self._has_begun:
                    await self._house.store.write(self._begin)
                    self._has_begun = True
                while await self._house.store.write(self._take_in):
                    pass
            except Exception:
                # A disk that is full now may have room later; what was not taken in is still in the outbox.
                log.exception("delivery failed", subscriber=self._room.name)
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
                continue
            await self._news.wait()

    def _begin(self, transaction: Transaction) -> None:
        """What was parked is tried once more at each start: it may have been the fault of a program that is mended now."""
        if self._subscribers:
            outbox.keep_subscribers(transaction, self._subscribers)
        found = outbox.unpark(transaction, self._room.name)
        parked = outbox.parked_resources(transaction, self._room.name)
        for sequence, detail_type, body in found:
            if detail_type in self._room.subscriptions:
                event = msgspec.structs.replace(_DECODER.decode(body), sequence=sequence)
                self._handle(transaction, event, parked)

    def _take_in(self, transaction: Transaction) -> bool:
        """One batch; whether there may be more. The cursor moves in the same transaction as what the events caused."""
        subscriber = self._room.name
        cursor = outbox.cursor(transaction, subscriber)
        rows = outbox.after(transaction, cursor, _BATCH)
        events = [
            msgspec.structs.replace(_DECODER.decode(body), sequence=sequence)
            for sequence, detail_type, body in rows
            if detail_type in self._room.subscriptions
        ]
        if events:
            self._take(transaction, events)
        if rows:
            outbox.advance(transaction, subscriber, rows[-1][0])
            self._taken += len(rows)
            if self._taken >= _TRIM_EVERY:
                self._taken = 0
                outbox.trim(transaction)
        return len(rows) == _BATCH

    def _take(self, transaction: Transaction, events: list[Event]) -> None:
        parked = outbox.parked_resources(transaction, self._room.name)
        if not parked:
            # Nearly always all of them can be handled, and then they need no savepoint each.
            try:
                transaction.savepoint(lambda: self._react_to(transaction, events))
                return
            except TransactionLost:
                raise
            except Exception:
                log.warning("events are taken in one by one", subscriber=self._room.name, exc_info=True)
        for event in events:
            self._handle(transaction, event, parked)

    def _react_to(self, transaction: Transaction, events: list[Event]) -> None:
        for event in events:
            self._react(transaction, event)

    def _react(self, transaction: Transaction, event: Event) -> None:
        turn = self._house.turn(self._room.name, account=event.account, region=event.region)
        call: Call = turn.call(transaction)
        self._room.subscriptions[event.detail_type](call, event)

    def _handle(self, transaction: Transaction, event: Event, parked: set[str]) -> None:
        subscriber = self._room.name
        if event.resource in parked:
            outbox.park(transaction, subscriber, event.sequence, event.resource, "behind an event that is parked")
            return
        try:
            transaction.savepoint(lambda: self._react(transaction, event))
        except Exception as error:
            log.exception("event parked", subscriber=subscriber, detail_type=event.detail_type, resource=event.resource)
            outbox.park(transaction, subscriber, event.sequence, event.resource, repr(error))
            parked.add(event.resource)


def deliveries(house: House, rooms: Iterable[Service]) -> list[Delivery]:
    """One for each room that hears anything; wakes them all when something has happened."""
    hearing = [room for room in rooms if room.subscriptions]
    made = [Delivery(house, room, [each.name for each in hearing]) for room in hearing]

    def wake() -> None:
        for delivery in made:
            delivery.notify()

    house.wakers["events"] = wake
    return made
