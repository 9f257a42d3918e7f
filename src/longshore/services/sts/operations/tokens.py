"""Sessions of users: of the user itself, and of somebody for whom it stands.

Source: STS API reference, GetSessionToken and GetFederationToken.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.services.sts import session_policies, session_tags, sessions
from longshore.services.sts.access import refuse_second_factor

_DURATION_DEFAULT = 43_200
_ROOT_MAX = 3600  # More is asked for in vain: the root user's sessions last an hour.


@operation
def get_session_token(call: Call, request: Request) -> Response:
    """The caller for a time. Without a second factor the session may not call IAM."""
    refuse_second_factor(request)
    session = replace(
        _long_term(call),
        multi_factor=False,
        issued_at=call.now,
        expires_at=call.now + timedelta(seconds=_duration(call, request)),
    )
    return {"Credentials": sessions.mint(call.house.sealer, call.ids, session).shown()}


@operation
def get_federation_token(call: Call, request: Request) -> Response:
    """What the caller may do and the passed policies allow too. Without a policy: nothing."""
    caller = _long_term(call)
    name = request["Name"]
    policies = session_policies.asked(call, request, call.account)
    session = Principal(
        kind="federated-user",
        account=call.account,
        arn=call.arn(f"federated-user/{name}"),
        user_id=f"{call.account}:{name}",
        session_name=name,
        session_policies=policies,
        session_tags=tuple(session_tags.given(request).items()),
        multi_factor=False,
        issued_at=call.now,
        expires_at=call.now + timedelta(seconds=_duration(call, request)),
        assumed_by=caller.arn,
        assumed_by_id=caller.user_id if caller.kind == "user" else None,
    )
    made = sessions.mint(call.house.sealer, call.ids, session)
    sent = policies or request.get("Tags")
    return {
        "Credentials": made.shown(),
        "FederatedUser": {"FederatedUserId": session.user_id, "Arn": session.arn},
        "PackedPolicySize": session_policies.packed_percent(request) if sent else 0,
    }


def _long_term(call: Call) -> Principal:
    """AccessDenied: only a user's own keys get such sessions, no other session does."""
    if call.principal.kind not in ("user", "root") or call.principal.issued_at is not None:
        raise AwsError("AccessDenied", f"Cannot call {call.operation} with session credentials", status=403)
    return call.principal


def _duration(call: Call, request: Request) -> int:
    seconds: int = request.get("DurationSeconds") or _DURATION_DEFAULT
    return min(seconds, _ROOT_MAX) if call.principal.kind == "root" else seconds
