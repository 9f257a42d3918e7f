"""What keeps an environment from launching or placing, and when an effect is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from longshore.aws.clock import milliseconds
from longshore.services.batch import news, store
from longshore.services.batch.records import Environment, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from longshore.aws.errors import AwsError
    from longshore.kit.call import Call

HEALTHY = "ComputeEnvironment Healthy"  # as DescribeComputeEnvironments shows it at AWS
_FIRST_MS = 5_000
_MOST_MS = 60_000
_FORGOTTEN_MS = 600_000  # A trouble that has been over for so long begins anew.
_REFUSALS = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


class Later(Struct, frozen=True):
    """The effect is tried again after so many milliseconds, or when something hastens it."""

    after_ms: int


def later(tries: int) -> Later:
    """The more tries were in vain, the later; a minute at most."""
    return Later(min(_MOST_MS, 500 * 2 ** min(tries, 10)))


def is_refusal(error: AwsError) -> bool:
    """Whether a policy said no."""
    return error.code in _REFUSALS


def add(call: Call, environment: Environment, code: str, text: str, instance_type: str | None = None) -> None:
    """Notes a trouble, or that it goes on. The status stays VALID: what runs is not concerned; the reason says it."""
    now = milliseconds(call.now)
    same = [one for one in environment.troubles if (one.code, one.instance_type) == (code, instance_type)]
    tries = 1 + max((one.tries for one in same if one.until + _FORGOTTEN_MS > now), default=0)
    until = now + min(_MOST_MS, _FIRST_MS * 2 ** min(tries - 1, 10))
    kept = tuple(one for one in environment.troubles if one not in same and one.until + _FORGOTTEN_MS > now)
    added = Trouble(text=text, code=code, until=until, tries=tries, instance_type=instance_type)
    changed = replace(environment, troubles=(*kept, added))
    if code != "capacity" and environment.status == "VALID":
        changed = replace(changed, status_reason=f"CLIENT_ERROR - {text}")
    store.save_environment(call.transaction, changed)
    news.environment_changed(call, environment.number)


def look_again(call: Call, environment: Environment, stands: Callable[[Trouble], bool]) -> None:
    """Somebody has changed a role or a profile: what does not stand any more ends; the rest is tried again at once, and is
    told until that has succeeded."""
    lasting = []
    for one in environment.troubles:
        if one.code == "capacity":
            lasting.append(one)
        elif stands(one):
            lasting.append(replace(one, until=min(one.until, milliseconds(call.now)), tries=0))
    _keep(call, environment, tuple(lasting))


def end(call: Call, environment: Environment, *codes: str) -> None:
    """Troubles of these kinds are over."""
    _keep(call, environment, tuple(one for one in environment.troubles if one.code not in codes))


def _keep(call: Call, environment: Environment, left: tuple[Trouble, ...]) -> None:
    if left == environment.troubles:
        return
    changed = replace(environment, troubles=left)
    told = [f"CLIENT_ERROR - {one.text}" for one in left if one.code != "capacity"]
    if environment.status == "VALID" and environment.status_reason not in told:
        changed = replace(changed, status_reason=told[-1] if told else HEALTHY)
    store.save_environment(call.transaction, changed)
    news.environment_changed(call, environment.number)
