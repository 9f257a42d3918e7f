"""Keeps the entries: a refusal at once, the rest within a second, off the way of the answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from longshore.aws.clock import milliseconds
from longshore.aws.principal import Principal
from longshore.aws.wire.scalars import iso_seconds
from longshore.kit.event import Event
from longshore.kit.house import House
from longshore.services.cloudtrail import store
from longshore.store.engine import Transaction

log = structlog.get_logger("longshore.trail")

FLUSH_SECONDS = 0.5  # A call is to be durable within a second of its answer.
KEPT = 200_000  # entries; CloudTrail keeps 90 days, a house on one disk keeps a number.
REFUSED = "AWS API Call via CloudTrail"  # the detail type of the event; see the room's door plate
REFUSALS = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_PORTION = 100
_WAITING_MAX = 100_000
_ENCODER = msgspec.json.Encoder()
_TYPES = {"root": "Root", "user": "IAMUser", "assumed-role": "AssumedRole", "federated-user": "FederatedUser"}

log = structlog.get_logger("longshore.cloudtrail")


class Trail:
    """The gateway's port. `record` never waits; `run` writes what was recorded until it is cancelled."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._waiting: list[Any] = []
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._since_trim = 0
        self._lost = 0

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
        rows: list[dict[str, Any]] = []
        for entry in entries:
            event = _event(entry, self._house.ids.uuid())
            rows.append(
                {
                    "account": entry.principal.account,
                    "region": entry.region,
                    "at": milliseconds(entry.time),
                    "name": entry.operation,
                    "source": event["eventSource"],
                    "user": _user_name(entry.principal),
                    "access_key_id": entry.principal.access_key_id or "",
                    "resource": entry.resource or "",
                    "event_id": event["eventID"],
                    "read_only": "true" if entry.read_only else "false",
                    "body": _ENCODER.encode(event),
                }
            )
            if entry.error_code in REFUSALS:
                self._house.outbox.append(
                    transaction,
                    Event(
                        source=f"aws.{entry.service}",
                        detail_type=REFUSED,
                        account=entry.principal.account,
                        region=entry.region,
                        time=entry.time,
                        resource=entry.principal.arn,
                        detail=event,
                    ),
                )
        store.add(transaction, rows)
        self._since_trim += len(entries)
        if self._since_trim > KEPT // 100:
            self._since_trim = 0
            store.trim(transaction, KEPT)


def _user_name(principal: Principal) -> str:
    """What LookupEvents calls Username: a session's is its session name."""
    return principal.session_name or principal.user_name or ("root" if principal.kind == "root" else principal.arn)


def _event(entry: Any, event_id: str) -> dict[str, Any]:
    """A CloudTrail record.

    Source: CloudTrail user guide, "CloudTrail record contents"; request parameters and response elements are left out,
    since they may hold what should not be kept twice.
    """
    event: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": _identity(entry.principal, entry.invoked_by),
        "eventTime": iso_seconds(entry.time),
        "eventSource": f"{entry.service}.amazonaws.com",
        "eventName": entry.operation,
        "awsRegion": entry.region,
        "sourceIPAddress": entry.source_ip,
        "userAgent": entry.user_agent,
        "requestID": entry.request_id,
        "eventID": event_id,
        "readOnly": entry.read_only,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": entry.principal.account,
        "eventCategory": "Management",
    }
    if entry.resource and entry.resource != "*":
        event["resources"] = [{"ARN": entry.resource, "accountId": entry.principal.account}]
    if entry.error_code:
        event["errorCode"] = entry.error_code
        event["errorMessage"] = entry.error_message
    return event


def _identity(principal: Principal, invoked_by: str | None) -> dict[str, Any]:
    if principal.kind == "service":
        return {"type": "AWSService", "invokedBy": principal.arn, "accountId": principal.account}
    identity: dict[str, Any] = {
        "type": _TYPES[principal.kind],
        "principalId": principal.user_id,
        "arn": principal.arn,
        "accountId": principal.account,
    }
    if principal.access_key_id:
        identity["accessKeyId"] = principal.access_key_id
    if principal.user_name:
        identity["userName"] = principal.user_name
    if principal.role_arn:
        issuer: Mapping[str, Any] = {
            "type": "Role",
            "principalId": principal.role_id,
            "arn": principal.role_arn,
            "accountId": principal.account,
            "userName": principal.role_arn.rsplit("/", 1)[-1],
        }
        attributes: dict[str, Any] = {"mfaAuthenticated": "true" if principal.multi_factor else "false"}
        if principal.issued_at is not None:
            attributes["creationDate"] = principal.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        identity["sessionContext"] = {"sessionIssuer": issuer, "attributes": attributes}
    if invoked_by:
        identity["invokedBy"] = invoked_by
    return identity
