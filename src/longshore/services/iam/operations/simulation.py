"""The policy simulator: what would be decided, why, and on which condition keys it rests.

Ours goes further than AWS's in one thing: who calls may also be a session, the root user, or a role where a resource policy
is given, and that policy may be a role's trust policy. AWS refuses to look at those.

Source: IAM API reference, SimulateCustomPolicy, SimulatePrincipalPolicy, GetContextKeysForCustomPolicy.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal, root
from longshore.kit.call import Call
from longshore.kit.operation import Request, Response, operation
from longshore.policy import conditions, match, simulate, validate
from longshore.policy.document import Document, parse
from longshore.policy.simulate import BOUNDARY, IDENTITY, RESOURCE, Matched, Outcome, Setting, Source
from longshore.services.iam import entitlements, reference, rules, shown, sources, store
from longshore.services.iam.records import Group, Role, User
from longshore.services.iam.sources import Attached, Holder

_ACTION = re.compile(r"[A-Za-z0-9.-]+:[A-Za-z0-9_]+")
_ENTITY = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(user|group|role)/(?:[^*]*/)?([\w+=,.@-]+)", re.ASCII)
_SESSION = re.compile(r"arn:aws[a-z-]*:sts::(\d{12}):assumed-role/([\w+=,.@-]+)/[\w+=,.@-]+", re.ASCII)
_FEDERATED = re.compile(r"arn:aws[a-z-]*:sts::(\d{12}):federated-user/[\w+=,.@-]+", re.ASCII)
_ROOT = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):root")
_ACCOUNT = re.compile(r"(?:arn:aws[a-z-]*:iam::)?(\d{12})(?::root)?")
_KEY = re.compile(r"[A-Za-z0-9-]+:[^\s*].*")
_EC2_RESOURCES = ("instance", "image", "security-group", "network-interface")
_DECISIONS_MAX = 200  # of one answer; with ten policies of ten statements each takes 100 to 450 us
_PAGE = 100  # MaxItems by default
# ResourceHandlingOption -> the resource types that the simulation must have.
_SCENARIOS = {
    "EC2-VPC-InstanceStore": _EC2_RESOURCES,
    "EC2-VPC-InstanceStore-Subnet": (*_EC2_RESOURCES, "subnet"),
    "EC2-VPC-EBS": (*_EC2_RESOURCES, "volume"),
    "EC2-VPC-EBS-Subnet": (*_EC2_RESOURCES, "subnet", "volume"),
}


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidInput", message)


@operation
def simulate_custom_policy(call: Call, request: Request) -> Response:
    caller = request.get("CallerArn")
    if request.get("ResourcePolicy") and not caller:
        raise _invalid("CallerArn is required when ResourcePolicy is given.")
    setting = Setting(
        principal=_principal(call, caller or call.arn("user/anyone")),
        identity=tuple(_inputs(request, "PolicyInputList", IDENTITY)),
        boundary=_one_boundary(request),
        service_control=tuple(
            tuple(_checked(text) for text in level.get("ServiceControlPolicyInputList") or ())
            for level in request.get("OrderedOrganizationPolicyInputList") or ()
        ),
        resource_policy=_resource_policy(request),
        resource_owner=_resource_owner(request),
    )
    return _simulated(call, request, setting)


@operation
def simulate_principal_policy(call: Call, request: Request) -> Response:
    arn = request["PolicySourceArn"]
    holder = _holder(call, arn)
    excluded = [_Excluded(each) for each in request.get("PolicyExclusionList") or ()]
    attached = [
        each.source
        for each in sources.identity(call.transaction, call.account, holder)
        if not any(one.is_policy(each) for one in excluded)
    ]
    boundary = _one_boundary(request)
    if boundary is None and not any(one.kind == "permission-boundary" for one in excluded):
        boundary = sources.boundary(call.transaction, call.account, holder)
    caller = request.get("CallerArn") or arn
    if request.get("ResourcePolicy") and ":group/" in caller:
        raise _invalid("Invalid caller - Caller must be an IAM user in this context.")
    principal = _principal(call, caller)
    is_controlled = not any(one.kind == "scp" for one in excluded)
    setting = Setting(
        principal=principal,
        identity=(*attached, *_inputs(request, "PolicyInputList", IDENTITY)),
        boundary=boundary,
        service_control=_service_control(call, holder) if is_controlled else (),
        resource_policy=_resource_policy(request),
        resource_owner=_resource_owner(request),
    )
    return _simulated(call, request, setting)


@operation
def get_context_keys_for_custom_policy(call: Call, request: Request) -> Response:
    given = _inputs(request, "PolicyInputList", IDENTITY)
    return {"ContextKeyNames": simulate.context_keys(source.text for source in given)}


@operation
def get_context_keys_for_principal_policy(call: Call, request: Request) -> Response:
    holder = _holder(call, request["PolicySourceArn"])
    found = [each.source for each in sources.identity(call.transaction, call.account, holder)]
    found += _inputs(request, "PolicyInputList", IDENTITY)
    return {"ContextKeyNames": simulate.context_keys(source.text for source in found)}


# What is asked -------------------------------------------------------------------------------------------------------


def _simulated(call: Call, request: Request, setting: Setting) -> Response:
    """One result for each action, made for those of the page alone."""
    actions = list(request["ActionNames"])
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise _invalid(f"ActionNames are not in a valid format: {action}.")
    resources = _resources(request)
    context = _context(request.get("ContextEntries") or ())

    def result(action: str) -> dict[str, Any]:
        return _result(action, resources, [simulate.simulate(setting, action, each, context) for each in resources])

    # "IAM might return fewer results, even when there are more": nobody else waits for more than so many decisions.
    at_once = max(1, _DECISIONS_MAX // len(resources))
    page = {**request, "MaxItems": min(request.get("MaxItems") or _PAGE, at_once)}
    return shown.page(call, page, "EvaluationResults", actions, show=result)


def _resources(request: Request) -> list[str]:
    resources = list(request.get("ResourceArns") or ["*"])
    for resource in resources:
        is_arn = resource.startswith("arn:") and len(match.arn_parts(resource)) == 6
        if not is_arn and resources != ["*"]:
            raise _invalid(f"ResourceNames are not in a valid ARN format: {resource}.")
    option = request.get("ResourceHandlingOption")
    if option:
        if option not in _SCENARIOS:
            raise _invalid(f"Invalid ResourceHandlingOption: {option}.")
        kinds = {resource.split(":", 5)[-1].partition("/")[0] for resource in resources}
        absent = [kind for kind in _SCENARIOS[option] if kind not in kinds]
        if absent:
            raise _invalid(f"ResourceHandlingOption {option} requires resources of types: {', '.join(absent)}.")
    return resources


def _holder(call: Call, arn: str) -> Holder:
    """The user, group or role of an ARN; of a session, its role. InvalidInput, NoSuchEntity."""
    entity, session = _ENTITY.fullmatch(arn), _SESSION.fullmatch(arn)
    if entity is not None:
        account, kind, name = entity.groups()
    elif session is not None:
        account, kind, name = session[1], "role", session[2]
    else:
        raise _invalid(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    found = sources.find(call.transaction, call.account, kind, name) if account == call.account else None
    if found is None or (entity is not None and found.arn != arn):
        raise rules.missing(f"The {kind} with name {name} cannot be found.")
    return found


def _principal(call: Call, arn: str) -> Principal:
    """Who is to be thought to call; nobody of this account needs to be called so."""
    if found := _ROOT.fullmatch(arn):
        return root(found[1])
    if found := _FEDERATED.fullmatch(arn):
        return Principal(kind="federated-user", account=found[1], arn=arn, user_id=arn)
    if found := _SESSION.fullmatch(arn):
        role = store.find(call.transaction, Role, call.account, found[2]) if found[1] == call.account else None
        role_arn = role.arn if role is not None else f"arn:aws:iam::{found[1]}:role/{found[2]}"
        return _role_session(found[1], arn, role_arn, role)
    found = _ENTITY.fullmatch(arn)
    if found is None:
        raise _invalid(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    account, kind, name = found.groups()
    known = sources.find(call.transaction, account, kind, name) if account == call.account else None
    if known is not None and known.arn != arn:
        known = None
    if kind == "role":
        # A role itself never calls, its sessions do; this is one that no policy names.
        session_arn = f"arn:aws:sts::{account}:assumed-role/{name}"
        return _role_session(account, session_arn, arn, known if isinstance(known, Role) else None)
    user_id = known.user_id if isinstance(known, User) else known.group_id if isinstance(known, Group) else arn
    return Principal(kind="user", account=account, arn=arn, user_id=user_id, user_name=name)


def _role_session(account: str, arn: str, role_arn: str, role: Role | None) -> Principal:
    return Principal(
        kind="assumed-role",
        account=account,
        arn=arn,
        user_id=arn,
        role_arn=role_arn,
        role_id=role.role_id if role is not None else None,
    )


def _service_control(call: Call, holder: Holder) -> tuple[tuple[Document, ...], ...]:
    """Those of the account. Organizations user guide: they limit no service-linked role."""
    if isinstance(holder, Role) and holder.service is not None:
        return ()
    return entitlements.service_control_of(call.transaction, call.account)


class _Excluded:
    """One entry of a PolicyExclusionList. InvalidInput: it names nothing, or too much."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        inline = given.get("InlinePolicyIdentifier")
        if sum(given.get(key) is not None for key in ("PolicyType", "PolicyArn")) + (inline is not None) != 1:
            raise _invalid("Each policy identifier must have exactly one of its members.")
        self.kind: str | None = given.get("PolicyType")
        self._arn = _loose(given["PolicyArn"]) if given.get("PolicyArn") else None
        if self._arn is not None and not re.match(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.", given["PolicyArn"]):
            raise _invalid(f"Invalid policy identifier: {given['PolicyArn']}.")
        # The reference speaks of wildcards in the holder's name, too; the service model lets none through.
        self._inline = inline

    def is_policy(self, policy: Attached) -> bool:
        if self._inline is not None:
            return policy.arn is None and (policy.name, policy.holder_kind, policy.holder_name) == (
                self._inline["PolicyName"], self._inline["AttachmentType"], self._inline["AttachmentName"],
            )  # fmt: skip
        if self._arn is not None:
            return policy.arn is not None and self._arn.fullmatch(policy.arn) is not None
        return policy.kind == self.kind


def _loose(pattern: str) -> re.Pattern[str]:
    if pattern.count("*") > 1:
        raise _invalid(f"Invalid policy identifier: {pattern} has more than one `*`.")
    return match.compiled(match.wild(pattern))


def _inputs(request: Request, member: str, policy_type: str) -> Iterable[Source]:
    return [
        Source(f"{member}.{number}", policy_type, _checked_text(text, validate.check_simulated))
        for number, text in enumerate(request.get(member) or (), 1)
    ]


def _one_boundary(request: Request) -> Source | None:
    given = list(_inputs(request, "PermissionsBoundaryPolicyInputList", BOUNDARY))
    if len(given) > 1:
        raise _invalid("Only one permissions boundary policy can be given.")
    return given[0] if given else None


def _resource_policy(request: Request) -> Source | None:
    text = request.get("ResourcePolicy")
    return Source("ResourcePolicy", RESOURCE, _checked_text(text, validate.check_resource_policy)) if text else None


def _resource_owner(request: Request) -> str | None:
    given = request.get("ResourceOwner")
    if not given:
        return None
    found = _ACCOUNT.fullmatch(given)
    if found is None:
        raise _invalid(f"Invalid ResourceOwner: {given}.")
    return found[1]


def _checked(text: str) -> Document:
    return parse(_checked_text(text, validate.check_simulated))


def _checked_text(text: str, check: Callable[[str], None]) -> str:
    """InvalidInput: the simulator has no MalformedPolicyDocument."""
    try:
        check(text)
    except AwsError as error:
        raise _invalid(error.message) from error
    return text


# Condition keys ------------------------------------------------------------------------------------------------------


def _is_read_by(operator: str) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            conditions.condition(operator, "a:b", [value], variables=False)
        except conditions.MalformedValue:
            return False
        return True

    return check


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        return False
    return True


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


_TYPES: dict[str, Callable[[str], bool]] = {
    "string": lambda value: True,
    "numeric": _is_read_by("NumericEquals"),
    "boolean": lambda value: value.lower() in ("true", "false"),
    "ip": _is_address,
    "binary": _is_base64,
    "date": _is_read_by("DateEquals"),
}


def _context(entries: Iterable[Mapping[str, Any]]) -> dict[str, str | list[str]]:
    """The keys that are given; a type without `List` with one value has one value, all others have several."""
    found: dict[str, str | list[str]] = {}
    for entry in entries:
        name, kind = entry.get("ContextKeyName") or "", entry.get("ContextKeyType") or "string"
        if not _KEY.fullmatch(name):
            raise _invalid(f"Invalid context key name: {name}.")
        values = list(entry.get("ContextKeyValues") or ())
        for value in values:
            if not _TYPES[kind.removesuffix("List")](value):
                raise _invalid(f"Invalid value for context key {name}: {value} is not of type {kind}.")
        found[name.lower()] = values[0] if len(values) == 1 and not kind.endswith("List") else values
    return found


# What is answered ----------------------------------------------------------------------------------------------------


def _result(action: str, resources: list[str], outcomes: list[Outcome]) -> dict[str, Any]:
    whole = simulate.together(outcomes)
    answer: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": "*" if resources == ["*"] else reference.resource_form(action, resources[0]),
        "EvalDecision": whole.decision,
        "MatchedStatements": [_matched(each) for each in whole.matched],
        "MissingContextValues": list(whole.missing),
        "PermissionsBoundaryDecisionDetail": _boundary(whole),
    }
    if whole.allowed_by_organization is not None:
        answer["OrganizationsDecisionDetail"] = {"AllowedByOrganizations": whole.allowed_by_organization}
    if resources != ["*"]:
        if whole.allowed_by_organization is not False:
            answer["EvalDecisionDetails"] = whole.details  # Present and empty within one account.
        answer["ResourceSpecificResults"] = [
            {
                "EvalResourceName": resource,
                "EvalResourceDecision": outcome.decision,
                "MatchedStatements": [_matched(each) for each in outcome.matched],
                "MissingContextValues": list(outcome.missing),
                "EvalDecisionDetails": outcome.details or None,
                "PermissionsBoundaryDecisionDetail": _boundary(outcome),
            }
            for resource, outcome in zip(resources, outcomes, strict=True)
        ]
    return answer


def _boundary(outcome: Outcome) -> dict[str, bool] | None:
    if outcome.allowed_by_boundary is None:
        return None
    return {"AllowedByPermissionsBoundary": outcome.allowed_by_boundary}


def _matched(found: Matched) -> dict[str, Any]:
    return {
        "SourcePolicyId": found.source.policy_id,
        "SourcePolicyType": found.source.policy_type,
        "StartPosition": {"Line": found.start[0], "Column": found.start[1]},
        "EndPosition": {"Line": found.end[0], "Column": found.end[1]},
    }
