"""The policy language read slowly and literally, straight from the documents: what the compiled evaluator is held against.

Nothing is compiled, cached or shared with the evaluator. Wildcards are matched character by character.
Source: IAM user guide, "Grammar of the IAM JSON policy language", "Policy evaluation logic".
"""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

Document = dict[str, Any]
Context = dict[str, "str | list[str]"]
Characters = list[tuple[str, str]]  # ("is" | "any" | "one", character)


def decide(
    who: dict[str, Any],
    action: str,
    resource: str,
    context: Context,
    *,
    identity: list[Document],
    boundary: Document | None,
    session: list[Document],
    resource_policy: Document | None,
    trust: bool,
    control: list[list[Document]] | None = None,
) -> tuple[bool, str]:
    """(allowed, the end of AWS's message). `who`: kind, account, arn, id, role_arn, role_id."""
    label = "role trust policy" if trust else "resource-based policy"
    article = "the" if trust else "a"
    own = [
        ("identity-based policy", "an", identity),
        ("permissions boundary", "a", [boundary] if boundary else []),
        ("session policy", "a", session),
    ]
    levels = [] if who["kind"] == "service" else control or []  # They limit no service.
    own.insert(0, ("service control policy", "a", [document for level in levels for document in level]))
    for name, an, documents in own:
        if any(says(document, "Deny", action, resource, context) for document in documents):
            return False, f"with an explicit deny in {an} {name}"
    if resource_policy and says(
        resource_policy, "Deny", action, resource, context, who={**who, "has_boundary": boundary is not None}
    ):
        return False, f"with an explicit deny in {article} {label}"

    def silence(name: str) -> tuple[bool, str]:
        return False, f"because no {name} allows the {action} action"

    named = named_by(resource_policy, action, resource, context, who) if resource_policy else set()
    if who["kind"] == "service":
        return (True, "") if "service" in named else silence(label)
    if trust and not named:
        return silence(label)
    for level in levels:
        if not any(says(document, "Allow", action, resource, context) for document in level):
            return silence("service control policy")
    identity_allows = who["kind"] == "root" or any(says(d, "Allow", action, resource, context) for d in identity)
    boundary_allows = boundary is None or says(boundary, "Allow", action, resource, context)
    session_allows = any(says(d, "Allow", action, resource, context) for d in session) or (
        not session and who["kind"] != "federated-user"
    )
    owner = resource.split(":")[4] if resource.count(":") >= 5 else ""
    if owner.isdigit() and owner != who["account"]:
        if not named:
            return silence(label)
        named = set()  # The other account's word is needed, and suffices for nothing.
    if identity_allows and boundary_allows and session_allows:
        return True, ""
    if named & {"user", "session", "anyone"}:
        return True, ""
    if "role" in named and boundary_allows and session_allows:
        return True, ""
    if not identity_allows:
        return silence("identity-based policy")
    return silence("permissions boundary") if not boundary_allows else silence("session policy")


def says(
    document: Document, effect: str, action: str, resource: str, context: Context, *, who: dict[str, Any] | None = None
) -> bool:
    """Whether a statement of that effect applies."""
    return any(
        statement["Effect"] == effect
        and applies(document, statement, action, resource, context)
        and (who is None or ways(statement, who))
        for statement in many(document["Statement"])
    )


def named_by(document: Document, action: str, resource: str, context: Context, who: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for statement in many(document["Statement"]):
        if statement["Effect"] == "Allow" and applies(document, statement, action, resource, context):
            found |= ways(statement, who)
    return found


def ways(statement: Document, who: dict[str, Any]) -> set[str]:
    if "NotPrincipal" in statement:
        listed = principals(statement["NotPrincipal"])
        # The account is looked at, then the role, then the session: to be spared, all must be listed.
        levels = [{who["account"], f"arn:aws:iam::{who['account']}:root"}]
        if who["kind"] == "user":
            levels.append({who["arn"], who["id"]})
        if who["kind"] == "assumed-role":
            levels += [{who["role_arn"], who["role_id"]}, {who["arn"]}]
        if who["kind"] == "federated-user":
            levels.append({who["arn"]})
        if who["kind"] == "service":
            levels = [{who["arn"]}]
        is_spared = all(level & listed for level in levels) or "*" in listed
        # It spares nobody who has a boundary.
        return set() if is_spared and not who.get("has_boundary") else {"anyone"}
    if "Principal" not in statement:
        return set()
    listed = principals(statement["Principal"])
    if who["kind"] == "service":
        return {"service"} if listed & {"*", who["arn"]} else set()
    found = set()
    if "*" in listed:
        found.add("anyone")
    if listed & {who["account"], f"arn:aws:iam::{who['account']}:root"}:
        found.add("account")
    if who["kind"] == "user" and listed & {who["arn"], who["id"]}:
        found.add("user")
    if who["kind"] == "assumed-role" and listed & {who["role_arn"], who["role_id"]}:
        found.add("role")
    if who["kind"] in ("assumed-role", "federated-user") and who["arn"] in listed:
        found.add("session")
    return found


def principals(element: Any) -> set[str]:
    if element == "*":
        return {"*"}
    return {name for names in element.values() for name in many(names)}


def applies(document: Document, statement: Document, action: str, resource: str, context: Context) -> bool:
    variables = document.get("Version") == "2012-10-17"
    if "Action" in statement:
        if not any(like(each.lower(), action.lower()) for each in many(statement["Action"])):
            return False
    elif any(like(each.lower(), action.lower()) for each in many(statement["NotAction"])):
        return False
    if "Resource" in statement:
        if not any(names_resource(each, resource, variables, context) for each in many(statement["Resource"])):
            return False
    elif "NotResource" in statement and any(
        names_resource(each, resource, variables, context) for each in many(statement["NotResource"])
    ):
        return False
    return all(
        holds(operator, key, [text(value) for value in many(values)], variables, context)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def text(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


# Wildcards and variables ---------------------------------------------------------------------------------------------


def characters(pattern: str, variables: bool, context: Context) -> Characters | None:
    """None: a variable in it has no value."""
    found: Characters = []
    at = 0
    while at < len(pattern):
        end = pattern.find("}", at)
        if variables and pattern.startswith("${", at) and end > at + 2:
            inner = pattern[at + 2 : end]
            if inner in ("*", "?", "$"):
                value: Any = inner
            else:
                name, comma, default = inner.partition(",")
                value = context.get(name.strip().lower())
                if not isinstance(value, str):
                    value = default.strip()[1:-1] if comma else None
            if value is None:
                return None
            found += [("is", character) for character in value]
            at = end + 1
            continue
        character = pattern[at]
        found.append(("any" if character == "*" else "one" if character == "?" else "is", character))
        at += 1
    return found


def fits(pattern: Characters, given: str) -> bool:
    """Which beginnings of the pattern fit which beginnings of the text, one character of the pattern after another."""
    reached = {0}
    for kind, character in pattern:
        if kind == "any":
            reached = set(range(min(reached), len(given) + 1)) if reached else set()
        elif kind == "one":
            reached = {at + 1 for at in reached if at < len(given)}
        else:
            reached = {at + 1 for at in reached if at < len(given) and given[at] == character}
    return len(given) in reached


def like(pattern: str, given: str) -> bool:
    return fits([("any" if c == "*" else "one" if c == "?" else "is", c) for c in pattern], given)


def arn_parts(arn: str) -> list[str]:
    """Cut at the first five colons, but not at those of variables."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(arn):
        if arn.startswith("${", at):
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == ":" and depth == 0 and len(parts) < 5:
            parts.append(arn[start:at])
            start = at + 1
    return [*parts, arn[start:]]


def fits_arn(pattern: list[str], given: str, variables: tuple[bool, bool], context: Context) -> bool:
    parts = given.split(":", 5)
    if len(parts) < 6:
        return False
    for index, (wanted, part) in enumerate(zip(pattern, parts, strict=True)):
        cut = characters(wanted, variables[1] if index == 5 else variables[0], context)
        if cut is None or not fits(cut, part):
            return False
    return True


def names_resource(pattern: str, resource: str, variables: bool, context: Context) -> bool:
    if set(pattern) == {"*"}:
        return True
    if resource == "*":
        return False
    if len(arn_parts(pattern)) < 2:
        return False
    parts = ["arn", *arn_parts(pattern)[1:]]
    parts += ["*"] * (6 - len(parts))
    return fits_arn(parts, resource, (False, variables), context)


# Conditions --------------------------------------------------------------------------------------------------------------


def holds(operator: str, key: str, values: list[str], variables: bool, context: Context) -> bool:
    name = operator.lower()
    quantifier, colon, rest = name.partition(":")
    if not colon:
        quantifier, rest = "", name
    given = context.get(key.lower())
    absent = given is None or given == []
    if rest == "null":
        return any((value.lower() == "true") == absent for value in values)
    if_exists = rest.endswith("ifexists")
    rest = rest.removesuffix("ifexists")
    negated = rest.startswith("not") or "not" in rest[3:]
    if absent:
        if if_exists or quantifier == "forallvalues":
            return True
        return negated and quantifier != "foranyvalue"
    plain = rest.replace("not", "", 1) if negated else rest

    def one(value: str) -> bool:
        return any(matches(plain, wanted, value, variables, context) for wanted in values) is not negated

    if isinstance(given, str):
        return one(given)
    if quantifier == "forallvalues":
        return all(one(value) for value in given)
    if quantifier == "foranyvalue":
        return any(one(value) for value in given)
    # Several values where one is expected: a positive operator is content with one, a negated one with none.
    return any(one(value) for value in given) if not negated else all(one(value) for value in given)


def matches(operator: str, wanted: str, given: str, variables: bool, context: Context) -> bool:
    try:
        if operator in ("stringequals", "stringequalsignorecase", "bool"):
            cut = characters(wanted, variables and operator != "bool", context)
            if cut is None:
                return False
            written = "".join(character for _, character in cut)
            return written == given if operator == "stringequals" else written.lower() == given.lower()
        if operator == "stringlike":
            cut = characters(wanted, variables, context)
            return cut is not None and fits(cut, given)
        if operator.startswith("numeric"):
            return compare(operator[7:], Fraction(given), Fraction(wanted))
        if operator.startswith("date"):
            return compare(operator[4:], moment(given), moment(wanted))
        if operator == "binaryequals":
            return base64.b64decode(wanted) == base64.b64decode(given)
        if operator == "ipaddress":
            return address_in(given, wanted)
        if operator in ("arnequals", "arnlike"):
            if set(wanted) == {"*"}:
                return True
            parts = arn_parts(wanted)
            if len(parts) < 6 and "${" in wanted:
                cut = characters(wanted, variables, context)
                return cut is not None and "".join(character for _, character in cut) == given
            return len(parts) == 6 and fits_arn(parts, given, (variables, variables), context)
    except ValueError:
        return False
    raise KeyError(operator)


def compare(how: str, given: Fraction, wanted: Fraction) -> bool:
    return {
        "equals": given == wanted,
        "lessthan": given < wanted,
        "lessthanequals": given <= wanted,
        "greaterthan": given > wanted,
        "greaterthanequals": given >= wanted,
    }[how]


def moment(written: str) -> Fraction:
    if written.removeprefix("-").isdigit() and (written.startswith("-") or len(written) > 4):
        return Fraction(written)
    if written.isdigit():
        return Fraction(datetime(int(written), 1, 1, tzinfo=UTC).timestamp())  # A year.
    moment = datetime.fromisoformat(written)
    return Fraction((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def address_in(given: str, wanted: str) -> bool:
    address = ipaddress.ip_address(given)
    base, _, length = wanted.partition("/")
    network = ipaddress.ip_address(base)
    if address.version != network.version:
        return False
    bits = 32 if address.version == 4 else 128
    dropped = bits - (int(length) if length else bits)
    return int(address) >> dropped == int(network) >> dropped
