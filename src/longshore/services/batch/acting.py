"""In whose name the loops act: the room itself in an account, or the session that it has of a service role."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from longshore.aws.principal import Principal, service
from longshore.kit.call import Call
from longshore.services.batch.records import Environment
from longshore.services.batch.roles import SERVICE

if TYPE_CHECKING:
    from longshore.kit.house import House

SESSION_NAME = "aws-batch"  # Seen in records of calls that AWS's Batch makes.
_SESSIONS_KEPT = timedelta(minutes=15)
_PORT = "batch.sessions"


def within(call: Call, account: str, region: str) -> Call:
    """The same transaction, as batch.amazonaws.com in another account or region."""
    if call.account == account and call.region == region and call.principal.is_service:
        return call
    return acting(call, service(SERVICE, account), region=region)


def acting(
    call: Call,
    principal: Principal,
    *,
    region: str | None = None,
    of: str = "batch",
    source_ip: str = "",
    via_service: str | None = None,
) -> Call:
    """The same transaction, as somebody else: for questions to the policies, in the form of the service `of`."""
    return Call(
        house=call.house,
        service=of,
        operation="",
        principal=principal,
        region=region or call.region,
        transaction=call.transaction,
        now=call.now,
        request_id=call.request_id,
        endpoint=call.endpoint,
        source_ip=source_ip,
        user_agent=via_service or "",
        via_service=via_service,
    )


def session(call: Call, environment: Environment) -> Principal:
    """What Batch is to its service role, its trust policy asked. AccessDenied: the role is gone, or does not trust Batch.

    Kept for a while, as services keep theirs; a role that changes ends that. What the session may do is asked at each call.
    """
    kept = _kept(call.house)
    # As its trust policy may name one environment alone, each has a session of its own.
    key = (environment.service_role, environment.arn)
    found = kept.get(key)
    if found is not None and found[1] > call.now:
        return found[0]
    made = call.assume(environment.service_role, SERVICE, session_name=SESSION_NAME, source_arn=environment.arn)
    kept[key] = (made, call.now + _SESSIONS_KEPT)
    return made


def forget_sessions(house: House) -> None:
    _kept(house).clear()


def _kept(house: House) -> dict[tuple[str, str], tuple[Principal, datetime]]:
    """ARN of a service role, and of the environment for which it is taken -> its session, and until when it is kept."""
    kept: dict[tuple[str, str], tuple[Principal, datetime]] = house.ports.setdefault(_PORT, {})
    return kept
