"""The row of a room's access table: what a caller must be allowed before an operation acts.

Source of each room's rows: the service authorization reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.operation import Request

Values = str | list[str]  # one value or several of a condition key
Context = Mapping[str, Values]
# The tags of what an ARN names; looked up only when a policy asks for one (aws:ResourceTag/k).
TagsOf = Callable[["Call", str], Mapping[str, str]]


class Question(Struct, frozen=True):
    """May the caller do `action` on `resource`? `context` holds the condition keys special to the question."""

    action: str  # "batch:SubmitJob"
    resource: str = "*"  # an ARN, or `*` where the action has no resource type
    context: Context = {}
    tags_of: TagsOf | None = None  # None: the resource's tags are in `context`, or are no condition keys


def _nothing(call: Call, request: Request) -> Iterable[Question]:
    return ()


class Access(Struct, frozen=True):
    """What one operation asks.

    `resources(call, request)` gives the ARNs, each of which must be allowed (`*` where the action has none).
    `context(call, request)` gives condition keys of the service for all of them (aws:RequestTag/k, ecs:cluster).
    `further(call, request)` gives more questions, PassRole among them: each is asked as the caller.
    `tags_of(call, ARN)` gives the tags of each resource, when a policy asks for them.
    `action` None: `<service>:<Operation>`.
    `open` True: never refused, so nothing is asked (sts:GetCallerIdentity).
    """

    resources: Callable[[Call, Request], Iterable[str]] | None = None
    context: Callable[[Call, Request], Context] | None = None
    further: Callable[[Call, Request], Iterable[Question]] = _nothing
    action: str | None = None
    open: bool = False
    tags_of: TagsOf | None = None


def pass_role(role_arn: str, service: str) -> Question:
    """iam:PassRole is no call: it is asked wherever a role is handed to a service."""
    return Question("iam:PassRole", role_arn, {"iam:PassedToService": service})


def tag_context(tags: Mapping[str, str] | None) -> dict[str, Any]:
    """aws:RequestTag/k and aws:TagKeys of the tags that a request carries."""
    if not tags:
        return {}
    return {**{f"aws:RequestTag/{key}": value for key, value in tags.items()}, "aws:TagKeys": list(tags)}
