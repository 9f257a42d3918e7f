"""Keeps the entries: a refusal at once, the rest within a second, off the way of the answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.aws.principal import Principal
from longshore.aws.wire.scalars import iso_seconds
from longshore.kit.event import Event
from longshore.kit.house import House
from longshore.services.cloudtrail import record, store
from longshore.store.engine import Transaction

log = structlog.get_logger("longshore.trail")

FLUSH_SECONDS = 0.5  # A call is to be durable within a second of its answer.
# House port: what hears of the calls that were made, in the transaction that keeps them: (transaction, entries) -> None.
USES = "calls made"
REFUSED = "AWS API Call via CloudTrail"  # the detail type of the event; see the room's door plate
REFUSALS = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_PORTION = 100
_WAITING_MAX = 100_000
_TRIMMED_AFTER = 1000  # entries; as many old ones go at once, twice over
_DAY_MS = 86_400_000
_IDENTITIES_MAX = 10_000
_TOLD_TO_BOTH = frozenset({"AssumeRole"})


class Trail:
    """The gateway's port. `record` never waits; `run` writes what was recorded until it is cancelled."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._waiting: list[Any] = []
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._since_trim = 0
        self._lost = 0
        self._identities: dict[tuple[str | None, str, str, str | None], msgspec.Raw] = {}

    def record(self, entry: Any) -> None:
        if len(self._waiting) >= _WAITING_MAX:
            self._lost += 1  # Nothing can be written for long; the house lives on without this.
            return
        self._waiting.append(entry)
        if entry.error_code in REFUSALS:
            self._urgent.set()
        self._news.set()

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
                    log.exception("calls not recorded yet", waiting=len(self._waiting), lost=self._lost)
                    self._news.set()
                    await asyncio.sleep(FLUSH_SECONDS)
        except asyncio.CancelledError:
            await self.flush()
            raise

    async def flush(self) -> None:
        """Returns when what was recorded is durable."""
        self._news.clear()
        self._urgent.clear()
        # In portions, so that a burst of calls does not hold up those who wait for the writer.
        while self._waiting:
            portion = self._waiting[:_PORTION]
            writing = asyncio.ensure_future(self._house.store.write(partial(self._write, entries=portion)))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing  # Begun, so it is either written or not; the last flush must know.
                del self._waiting[: len(portion)]
                raise
            del self._waiting[: len(portion)]

    def _write(self, transaction: Transaction, entries: list[Any]) -> None:
        store.add(transaction, [row for entry in entries for row in self._rows_of(entry)])
        for entry in entries:
            if entry.error_code in REFUSALS:
                self._tell(transaction, entry)
        for hear in self._house.ports.get(USES, ()):
            hear(transaction, entries)
        self._since_trim += len(entries)
        if self._since_trim >= _TRIMMED_AFTER:
            self._since_trim = 0
            settings = self._house.settings
            oldest = milliseconds(self._house.clock.now()) - settings.trail_days * _DAY_MS
            store.trim(transaction, kept=settings.trail_records, oldest=oldest, limit=2 * _TRIMMED_AFTER)

    def _rows_of(self, entry: Any) -> list[dict[str, Any]]:
        """One call whose details can't be written down is kept without them: it holds up none of the others."""
        try:
            return list(self._rows(entry))
        except Exception:
            log.exception("a call is recorded without its details", service=entry.service, operation=entry.operation)
            return list(self._rows(replace(entry, request=None, response=None, error_message=None)))

    def _rows(self, entry: Any) -> Iterator[dict[str, Any]]:
        principal: Principal = entry.principal
        answered = entry.response if entry.error_code is None else None
        kept = record.Kept(
            entry.request_id,
            self._identity(principal, entry.invoked_by),
            entry.source_ip,
            entry.user_agent,
            entry.error_code,
            entry.error_message,
            record.field(entry.service, entry.operation, entry.request, is_answer=False),
            record.field(entry.service, entry.operation, answered, is_answer=True),
        )
        row = {
            "account": principal.account,
            "region": entry.region,
            "at": milliseconds(entry.time),
            "name": entry.operation,
            "source": f"{entry.service}.amazonaws.com",
            "user": record.user_name(principal),
            "access_key_id": principal.access_key_id or "",
            "resource": entry.resource or "",
            "event_id": "",
            "read_only": "true" if entry.read_only else "false",
            "body": record.encoded(kept),
        }
        yield row
        # CloudTrail user guide, "Cross-account CloudTrail logging": who takes a role of another account is told in both.
        if entry.operation in _TOLD_TO_BOTH and not entry.error_code:
            owner = (entry.resource or "").split(":", 5)[4:5]
            if owner and owner[0] and owner[0] != principal.account:
                yield {**row, "account": owner[0]}

    def _identity(self, principal: Principal, invoked_by: str | None) -> msgspec.Raw:
        """Made once for each caller."""
        key = (principal.access_key_id, principal.arn, principal.account, invoked_by)
        found = self._identities.get(key)
        if found is None:
            if len(self._identities) >= _IDENTITIES_MAX:
                self._identities.clear()
            found = self._identities[key] = record.identity(principal, invoked_by)
        return found

    def _tell(self, transaction: Transaction, entry: Any) -> None:
        detail: dict[str, Any] = {
            "userIdentity": msgspec.json.decode(self._identity(entry.principal, entry.invoked_by)),
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
