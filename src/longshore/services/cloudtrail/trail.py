"""Keeps the entries: a refusal at once, the rest within a second, off the way of the answer."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import msgspec
import structlog

from longshore.aws.clock import milliseconds
from longshore.aws.wire.scalars import iso_seconds
from longshore.kit.event import Event
from longshore.kit.house import House
from longshore.services.cloudtrail import record, section, store
from longshore.services.cloudtrail.section import Draft
from longshore.store.engine import Transaction

log = structlog.get_logger("longshore.trail")

FLUSH_SECONDS = 0.5  # A call is to be durable within a second of its answer.
# House port: what hears of the calls that were made, in the transaction that keeps them: (transaction, entries) -> None.
# Of calls of the same operation with the same credentials it hears of the last only.
USES = "calls made"
REFUSED = "AWS API Call via CloudTrail"  # the detail type of the event; see the room's door plate
REFUSALS = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_WAITING_MAX = 100_000
_PORTION = 4  # drafts
_TRIMMED_AFTER = 1000  # calls
_DAY_MS = 86_400_000
_TOLD_TO_BOTH = frozenset({"AssumeRole"})


class Trail:
    """The gateway's port. `record` never waits; `run` writes what was recorded until it is cancelled."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._waiting: dict[tuple[str, str], list[Any]] = {}  # (account, region) -> entries
        self._drafts: list[Draft] = []  # of entries that waited; not written yet
        self._count = 0  # of calls, in both
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._since_trim = 0
        self._lost = 0

    def record(self, entry: Any) -> None:
        if self._count >= _WAITING_MAX:
            self._lost += 1  # Nothing can be written for long; the house lives on without this.
            return
        account = entry.principal.account
        self._put(account, entry)
        if entry.error_code in REFUSALS:
            self._urgent.set()
        elif entry.operation in _TOLD_TO_BOTH and not entry.error_code:
            # CloudTrail user guide, "Cross-account CloudTrail logging": who takes a role of another account is told in both.
            owner = (entry.resource or "").split(":", 5)[4:5]
            if owner and owner[0] and owner[0] != account:
                self._put(owner[0], entry)
        self._news.set()

    def _put(self, account: str, entry: Any) -> None:
        key = (account, entry.region)
        entries = self._waiting.get(key)
        if entries is None:
            entries = self._waiting[key] = []
        entries.append(entry)
        self._count += 1

    async def run(self) -> None:
        try:
            while True:
                await self._news.wait()
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: on Python 3.11 it loses a cancellation that meets the event.
                    async with asyncio.timeout(FLUSH_SECONDS):
                        await self._urgent.wait()
                try:
                    await self.flush()
                except Exception:
                    log.exception("calls not recorded yet", waiting=self._count, lost=self._lost)
                    self._news.set()
                    await asyncio.sleep(FLUSH_SECONDS)
        except asyncio.CancelledError:
            await self.flush()
            raise

    async def flush(self) -> None:
        """Returns when what was recorded is durable."""
        self._news.clear()
        self._urgent.clear()
        left = sum(map(len, self._waiting.values()))
        while left > 0 or self._drafts:
            # Some in one commit: each has a price of its own. Not all, so that a burst does not hold up who waits for the writer.
            while left > 0 and len(self._drafts) < _PORTION:
                left -= self._make_draft()
                await asyncio.sleep(0)  # Others have their turn.
            portion = list(self._drafts)
            if not portion:
                return
            writing = asyncio.ensure_future(self._house.store.write(partial(self._write, portion=portion)))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing  # Begun, so it is either written or not; the last flush must know.
                self._are_written(portion)
                raise
            self._are_written(portion)

    def _make_draft(self) -> int:
        """Of as many calls that wait as go into one. How many."""
        key, entries = next(iter(self._waiting.items()))
        taken = entries[: section.SECTION_CALLS_MAX]
        draft = Draft(*key)
        for entry in taken:
            _add(draft, entry)
        if len(draft):
            self._drafts.append(draft)
        self._count -= len(taken) - len(draft)
        del self._waiting[key]
        if rest := entries[len(taken) :]:
            self._waiting[key] = rest  # behind the others
        return len(taken)

    def _are_written(self, portion: list[Draft]) -> None:
        del self._drafts[: len(portion)]
        self._count -= sum(map(len, portion))

    def _write(self, transaction: Transaction, portion: list[Draft]) -> None:
        for draft in portion:
            store.add(transaction, draft)
            for entry in draft.refusals:
                self._tell(transaction, entry)
            for hear in self._house.ports.get(USES, ()):
                hear(transaction, draft.latest.values())
            self._since_trim += len(draft)
        if self._since_trim >= _TRIMMED_AFTER:
            self._since_trim = 0
            settings = self._house.settings
            oldest = milliseconds(self._house.clock.now()) - settings.trail_days * _DAY_MS
            store.trim(transaction, kept=settings.trail_records, oldest=oldest)

    def _tell(self, transaction: Transaction, entry: Any) -> None:
        detail: dict[str, Any] = {
            "userIdentity": msgspec.json.decode(record.identity(entry.principal, entry.invoked_by)),
            "eventTime": iso_seconds(entry.time),
            "eventSource": f"{entry.service}.amazonaws.com",
            "eventName": entry.operation,
            "awsRegion": entry.region,
            "sourceIPAddress": entry.source_ip,
            "requestID": entry.request_id,
            "errorCode": entry.error_code,
            "errorMessage": entry.error_message,
        }
        if entry.resource and entry.resource != "*":
            detail["resources"] = [{"ARN": entry.resource, "accountId": entry.principal.account}]
        self._house.outbox.append(
            transaction,
            Event(
                source=f"aws.{entry.service}",
                detail_type=REFUSED,
                account=entry.principal.account,
                region=entry.region,
                time=entry.time,
                resource=entry.principal.arn,
                detail=detail,
            ),
        )


def _add(draft: Draft, entry: Any) -> None:
    """What can't be written down of a call is left out, and holds up none of the others."""
    about = {"service": entry.service, "operation": entry.operation}
    try:
        draft.add(entry)
    except Exception:
        log.exception("a call is recorded without its details", **about)
        try:
            draft.add(entry, with_details=False)
        except Exception:
            log.exception("a call is not recorded", **about)
            return
    if entry.error_code in REFUSALS:
        draft.refusals.append(entry)
