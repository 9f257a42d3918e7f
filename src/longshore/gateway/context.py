"""The condition keys of a request, each made when a policy asks for it: most policies ask for none.

Source: IAM user guide, "AWS global condition context keys". Names are in lower case.
To add a key: one row of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from longshore.kit.access import Question, Values
from longshore.kit.call import Call

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_TAG = "aws:principaltag/"
_RESOURCE_TAGS = ("aws:resourcetag/", "iam:resourcetag/")
_PRINCIPAL_TYPES = {
    "root": "Account",
    "user": "User",
    "assumed-role": "AssumedRole",
    "federated-user": "FederatedUser",
}


class RequestContext:
    """The keys special to the question win; `tags` reads the tags of the principal."""

    __slots__ = ("_call", "_given", "_question", "_tags")

    def __init__(self, call: Call, question: Question, tags: Callable[[], Mapping[str, str]]) -> None:
        self._call = call
        self._question = question
        self._given = {name.lower(): value for name, value in question.context.items()}
        self._tags = tags

    def get(self, name: str, /) -> Values | None:
        """None: the key is absent. `name` in lower case."""
        given = self._given.get(name)
        if given is not None:
            return given
        make = _KEYS.get(name)
        if make is not None:
            return make(self._call)
        if name.startswith(_TAG):
            return _tag(self._tags(), name.removeprefix(_TAG))
        tags_of = self._question.tags_of
        # IAM's own name for them is for roles that are to be assumed; other services' resources have aws:ResourceTag alone.
        if tags_of is not None and name.startswith(
            _RESOURCE_TAGS if self._call.service == "sts" else _RESOURCE_TAGS[0]
        ):
            return _tag(tags_of(self._call, self._question.resource), name.partition("/")[2])
        return None


def _tag(tags: Mapping[str, str], name: str) -> str | None:
    """Tag keys are compared without regard to case; a session's own come last and win."""
    found = [value for key, value in tags.items() if key.lower() == name]
    return found[-1] if found else None


def _source_ip(call: Call) -> str | None:
    # A service that calls for its customer has no address of its own.
    return None if call.via_service else call.source_ip or None


def _principal_arn(call: Call) -> str | None:
    principal = call.principal
    return None if principal.kind == "service" else principal.role_arn or principal.arn


def _token_issue_time(call: Call) -> str | None:
    issued_at = call.principal.issued_at
    return issued_at.strftime(_TIME) if issued_at is not None else None


def _multi_factor(call: Call) -> str | None:
    present = call.principal.multi_factor
    return None if present is None else _boolean(present)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_KEYS: dict[str, Callable[[Call], str | None]] = {
    "aws:currenttime": lambda call: call.now.strftime(_TIME),
    "aws:ec2instancesourceprivateipv4": lambda call: call.principal.source_private_ip,
    "aws:ec2instancesourcevpc": lambda call: call.principal.source_vpc,
    "aws:epochtime": lambda call: str(int(call.now.timestamp())),
    "aws:multifactorauthpresent": _multi_factor,
    "aws:principalaccount": lambda call: call.principal.account,
    "aws:principalarn": _principal_arn,
    "aws:principalisawsservice": lambda call: _boolean(call.principal.kind == "service"),
    "aws:principalservicename": lambda call: call.principal.arn if call.principal.kind == "service" else None,
    "aws:principaltype": lambda call: _PRINCIPAL_TYPES.get(call.principal.kind),
    "aws:requestedregion": lambda call: "us-east-1" if call.service == "iam" else call.region,
    "aws:securetransport": lambda call: _boolean(call.endpoint.startswith("https:")),
    "aws:sourceaccount": lambda call: call.principal.account if call.principal.kind == "service" else None,
    "aws:sourceidentity": lambda call: call.principal.source_identity,
    "aws:sourceip": _source_ip,
    "aws:tokenissuetime": _token_issue_time,
    "aws:useragent": lambda call: call.user_agent or None,
    "aws:userid": lambda call: call.principal.user_id,
    "aws:username": lambda call: call.principal.user_name,
    "aws:viaawsservice": lambda call: _boolean(bool(call.via_service)),
    "ec2:sourceinstancearn": lambda call: call.principal.source_instance_arn,
}
