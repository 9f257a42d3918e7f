"""IAM's rules a second time: slow, literal, and written by one who had not read the evaluator.

Documents are JSON objects as `json.loads` gives them, and every question is worked out from nothing. Source: IAM user
guide, "Policy evaluation logic", "Resource", "Principal", "NotPrincipal", "Condition operators", "Multivalued context keys",
"Policy variables", "Permissions boundaries". Where the guide is silent, `Unsettled` is raised and the case counts for nothing.
"""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

Json = dict[str, Any]

IDENTITY = "an identity-based policy"
BOUNDARY = "a permissions boundary"
SESSION = "a session policy"
SERVICE_CONTROL = "a service control policy"
RESOURCE = "a resource-based policy"
TRUST = "the role trust policy"


class Unsettled(Exception):
    """Neither the guide nor a record of AWS says what happens."""


class Answer(NamedTuple):
    decision: str  # allowed, explicitDeny, implicitDeny
    reasons: tuple[str, ...]  # AWS names one of them: the first, where all are of the caller's side; empty when allowed


# --- text ---------------------------------------------------------------------------------------------------------------

ANY_RUN, ANY_ONE = object(), object()


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def pattern_of(text: str) -> list[Any]:
    return [{"*": ANY_RUN, "?": ANY_ONE}.get(letter, letter) for letter in text]


def fits(pattern: list[Any], text: str) -> bool:
    """By the set of places in the pattern that the text so far can have reached."""

    def past_runs(places: set[int]) -> set[int]:
        for place in sorted(places):
            while place < len(pattern) and pattern[place] is ANY_RUN:
                place += 1
                places.add(place)
        return places

    places = past_runs({0})
    for letter in text:
        reached = set()
        for place in places:
            if place == len(pattern):
                continue
            if pattern[place] is ANY_RUN:
                reached.add(place)
            elif pattern[place] is ANY_ONE or pattern[place] == letter:
                reached.add(place + 1)
        places = past_runs(reached)
    return len(pattern) in places


def substituted(text: str, version: str, context: dict[str, Any]) -> list[Any] | None:
    """The pattern with its variables filled in, what is filled in being literal; None: one of them has no value."""
    if version != "2012-10-17":
        return pattern_of(text)
    pattern: list[Any] = []
    while "${" in text:
        before, _, rest = text.partition("${")
        variable, _, text = rest.partition("}")
        pattern += pattern_of(before)
        if variable in ("*", "?", "$"):
            pattern.append(variable)
            continue
        name, comma, default = variable.partition(",")
        value = context.get(name.strip().lower())
        if value is None and comma:
            value = default.strip()[1:-1]
        if not isinstance(value, str):  # absent, or multivalued: only keys with a single value may be variables
            return None
        pattern += list(value)
    return pattern + pattern_of(text)


def as_text(pattern: list[Any]) -> str:
    """For operators that know no wildcards."""
    return "".join("*" if item is ANY_RUN else "?" if item is ANY_ONE else item for item in pattern)


def parts(pattern: list[Any]) -> list[list[Any]]:
    found: list[list[Any]] = [[]]
    for item in pattern:
        if item == ":" and len(found) < 6:
            found.append([])
        else:
            found[-1].append(item)
    return found


def arn_fits(pattern: list[Any], arn: str) -> bool:
    wanted, given = parts(pattern), arn.split(":", 5)
    return len(wanted) == len(given) == 6 and all(fits(one, other) for one, other in zip(wanted, given))


# --- conditions ---------------------------------------------------------------------------------------------------------


def moment(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return found if found.tzinfo else found.replace(tzinfo=UTC)


COMPARISONS = {
    "Equals": lambda given, wanted: given == wanted,
    "LessThan": lambda given, wanted: given < wanted,
    "LessThanEquals": lambda given, wanted: given <= wanted,
    "GreaterThan": lambda given, wanted: given > wanted,
    "GreaterThanEquals": lambda given, wanted: given >= wanted,
}


def written(value: Any) -> str:
    """JSON booleans and numbers mean what their text means."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def matches(operator: str, given: str, raw: Any, version: str, context: dict[str, Any]) -> bool:
    """One value of the request against one of the policy, by a positive operator."""
    wanted = written(raw)
    if operator.startswith(("String", "Arn")):
        pattern = substituted(wanted, version, context)
        if pattern is None:
            return False
        if operator == "StringEquals":
            return given == as_text(pattern)
        if operator == "StringEqualsIgnoreCase":
            return given.lower() == as_text(pattern).lower()
        if operator == "StringLike":
            return fits(pattern, given)
        return arn_fits(pattern, given)
    if operator.startswith("Numeric"):
        return COMPARISONS[operator.removeprefix("Numeric")](Decimal(given), Decimal(wanted))
    if operator.startswith("Date"):
        return COMPARISONS[operator.removeprefix("Date")](moment(given), moment(wanted))
    if operator == "Bool":
        return given == wanted
    if operator == "BinaryEquals":
        return base64.b64decode(given) == base64.b64decode(wanted)
    if operator == "IpAddress":
        address, network = ipaddress.ip_address(given), ipaddress.ip_network(wanted, strict=False)
        return address.version == network.version and address in network
    raise AssertionError(operator)


POSITIVE = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}


def condition_holds(operator: str, key: str, wanted: list[Any], version: str, context: dict[str, Any]) -> bool:
    given = context.get(key.lower())
    if operator == "Null":
        return any((given is None) == (written(value) == "true") for value in wanted)
    for_each, colon, bare = operator.partition(":")
    if not colon:
        for_each, bare = "", operator
    if_exists = bare.endswith("IfExists")
    bare = bare.removesuffix("IfExists")
    is_negated = bare in POSITIVE
    positive = POSITIVE.get(bare, bare)
    if given is None:
        if if_exists or for_each == "ForAllValues":
            return True
        return is_negated and not for_each
    values = as_list(given)

    def passes(value: str) -> bool:
        return any(matches(positive, value, one, version, context) for one in wanted) != is_negated

    if for_each == "ForAllValues":
        return all(passes(value) for value in values)
    if for_each == "ForAnyValue":
        return any(passes(value) for value in values)
    if isinstance(given, list):
        raise Unsettled("a single-valued operator on several values")
    return passes(given)


def conditions_hold(statement: Json, version: str, context: dict[str, Any]) -> bool:
    return all(
        condition_holds(operator, key, as_list(wanted), version, context)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


# --- statements ---------------------------------------------------------------------------------------------------------


def action_fits(statement: Json, action: str) -> bool:
    wanted = as_list(statement.get("Action", statement.get("NotAction")))
    is_listed = any(fits(pattern_of(one.lower()), action.lower()) for one in wanted)
    return is_listed == ("Action" in statement)


def resource_fits(statement: Json, resource: str, version: str, context: dict[str, Any]) -> bool:
    if "Resource" not in statement and "NotResource" not in statement:
        return True  # a trust policy speaks of its own role

    def listed(one: str) -> bool:
        if one == "*":
            return True
        pattern = substituted(one, version, context)
        if pattern is None:
            if "NotResource" in statement:
                raise Unsettled("NotResource with a variable that has no value")
            return False
        return arn_fits(pattern, resource)

    return any(listed(one) for one in as_list(statement.get("Resource", statement.get("NotResource")))) == (
        "Resource" in statement
    )


# How a principal element meets a caller, the closest first.
DIRECT, AS_ROLE, EVERYONE, ACCOUNT = "by name", "by its role", "everyone", "by its account"


def account_forms(account: str) -> list[str]:
    return [account, f"arn:aws:iam::{account}:root"]


def ways_named(element: Any, who: Json) -> set[str]:
    """In which ways the element (the value of Principal or NotPrincipal) names the caller."""
    if element == "*":
        element = {"AWS": "*"}
    ways = set()
    for kind, names in element.items():
        for name in as_list(names):
            if kind == "Service":
                if who["kind"] == "service" and name == who["arn"]:
                    ways.add(DIRECT)
            elif kind == "AWS":
                if name == "*":
                    if who["kind"] == "service":
                        raise Unsettled("whether a service is one of everyone")
                    ways.add(EVERYONE)
                elif who["kind"] == "service":
                    continue
                elif name in account_forms(who["account"]):
                    ways.add(DIRECT if who["kind"] == "root" else ACCOUNT)
                elif name == who["arn"] or (who["kind"] == "user" and name == who["user_id"]):
                    ways.add(DIRECT)
                elif who["kind"] == "assumed-role" and name in (who["role_arn"], who["role_id"]):
                    ways.add(AS_ROLE)
    return ways


def is_spared(element: Any, who: Json, has_boundary: bool) -> bool:
    """Whether NotPrincipal excepts the caller: it must name the account, and a role besides the session."""
    if has_boundary:  # the guide: whoever has a boundary is always denied, whatever values the element has
        return False
    ways = ways_named(element, who)
    if not ways:
        return False
    needed = {
        "user": {DIRECT, ACCOUNT},
        "federated-user": {DIRECT, ACCOUNT},
        "assumed-role": {DIRECT, AS_ROLE, ACCOUNT},
    }
    if EVERYONE not in ways and not needed.get(who["kind"], {DIRECT}) <= ways:
        raise Unsettled("NotPrincipal with a part of what it must name")
    return True


def applying(document: Json, effect: str, action: str, resource: str, context: dict[str, Any]) -> list[Json]:
    version = document.get("Version", "2008-10-17")
    return [
        statement
        for statement in as_list(document["Statement"])
        if statement["Effect"] == effect
        and action_fits(statement, action)
        and resource_fits(statement, resource, version, context)
        and conditions_hold(statement, version, context)
    ]


# --- the decision -------------------------------------------------------------------------------------------------------


def narrows_by_principal_arn(statement: Json) -> bool:
    return any(
        key.lower() == "aws:principalarn" and operator in ("ArnEquals", "ArnLike", "StringEquals", "StringLike")
        for operator, keys in statement.get("Condition", {}).items()
        for key in keys
    )


def is_of_another_account(who: Json, resource: str, owner: str | None) -> bool:
    account = owner or (resource.split(":")[4] if resource != "*" else "")
    return account not in ("", who["account"])


def decide(
    who: Json,
    action: str,
    resource: str,
    context: dict[str, Any],
    *,
    identity: list[Json],
    boundary: Json | None,
    session: list[Json],
    service_control: list[list[Json]],
    resource_policy: Json | None,
    is_trust: bool,
    owner: str | None = None,
) -> Answer:
    """`who`: kind, account, arn, user_id, and of a role session role_arn and role_id. Keys of `context` in lower case.

    `owner`: the account whose the resource is, where its ARN does not tell.
    """
    on_the_resource = TRUST if is_trust else RESOURCE

    def says(documents: list[Json], effect: str) -> bool:
        return any(applying(one, effect, action, resource, context) for one in documents)

    # The resource policy: does it deny this caller, and in which ways does it allow him?
    resource_denies, granted = False, set()
    star_narrowed = False
    if resource_policy is not None:
        for statement in applying(resource_policy, "Deny", action, resource, context):
            if "NotPrincipal" in statement:
                resource_denies |= not is_spared(statement["NotPrincipal"], who, boundary is not None)
            else:
                resource_denies |= bool(ways_named(statement["Principal"], who))
        for statement in applying(resource_policy, "Allow", action, resource, context):
            ways = ways_named(statement["Principal"], who)
            granted |= ways
            star_narrowed |= EVERYONE in ways and narrows_by_principal_arn(statement)

    # 1. A deny anywhere.
    denying = [
        kind
        for kind, documents in (
            (SERVICE_CONTROL, [one for level in service_control for one in level]),
            (IDENTITY, identity),
            (BOUNDARY, [boundary] if boundary is not None else []),
            (SESSION, session),
        )
        if says(documents, "Deny")
    ] + ([on_the_resource] if resource_denies else [])
    if denying:
        return Answer("explicitDeny", tuple(denying))

    if who["kind"] == "service":  # it has no policies of its own
        if resource_policy is None:
            raise Unsettled("a service where nothing speaks of services")
        return Answer("allowed", ()) if granted else Answer("implicitDeny", (on_the_resource,))

    # 2. What is silent on the caller's side.
    control_is_silent = not all(says(level, "Allow") for level in service_control)
    identity_is_silent = who["kind"] != "root" and not says(identity, "Allow")
    boundary_is_silent = boundary is not None and not says([boundary], "Allow")
    # Every session may do what its policies allow; a federated user without one may do nothing.
    session_is_silent = (bool(session) or who["kind"] == "federated-user") and not says(session, "Allow")
    silent = [
        kind
        for kind, is_silent in (
            (SERVICE_CONTROL, control_is_silent),
            (IDENTITY, identity_is_silent),
            (BOUNDARY, boundary_is_silent),
            (SESSION, session_is_silent),
        )
        if is_silent
    ]

    is_across = is_of_another_account(who, resource, owner)

    # 3. Who is of another account, and who wants a role, must be allowed by the resource as well.
    if (is_across or is_trust) and not granted:
        return Answer("implicitDeny", (*silent, on_the_resource))
    if not silent:
        return Answer("allowed", ())
    if is_across or control_is_silent:
        return Answer("implicitDeny", (*silent, *(() if granted else (on_the_resource,))))

    # 4. In one account a resource policy can grant by itself.
    if DIRECT in granted:  # the user, the federated user, the session itself
        return Answer("allowed", ())
    if AS_ROLE in granted and not boundary_is_silent and not session_is_silent:
        return Answer("allowed", ())
    if EVERYONE in granted:
        if session_is_silent and not star_narrowed:
            raise Unsettled("everyone is allowed, without aws:PrincipalArn, and the session policy is silent")
        return Answer("allowed", ())
    return Answer("implicitDeny", (*silent, *(() if granted else (on_the_resource,))))


def text_of(answer: Answer, kind: str, action: str) -> str:
    """The end of AWS's message."""
    if answer.decision == "explicitDeny":
        return f"with an explicit deny in {kind}"
    return f"because no {kind.removeprefix('an ').removeprefix('a ').removeprefix('the ')} allows the {action} action"
