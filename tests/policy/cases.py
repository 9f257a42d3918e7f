"""Questions to the evaluator, drawn from small alphabets so that things match. A seed and a number make one case.

Left out, since neither the guide nor a record of AWS settles it: empty strings and empty lists as values, operators for one
value on several, values that are not of the operator's type, ARN operators on what is no ARN, two spellings of one key in a
block, variables in the first five parts of an ARN, `*` for a service, a part of what NotPrincipal must name, a variable
without a value in NotResource. What of it can still be drawn, the reference calls `Unsettled`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

HERE, THERE = "111111111111", "222222222222"
ACTIONS = [
    "batch:SubmitJob",
    "batch:DescribeJobs",
    "batch:TagResource",
    "ec2:RunInstances",
    "ec2:DescribeTags",
    "iam:PassRole",
]
ACTION_PATTERNS = [
    *ACTIONS,
    "batch:*",
    "ec2:*",
    "*",
    "batch:Describe*",
    "*:*Resource*",
    "BATCH:submitjob",
    "ec2:?un*",
    "iam:Pass????",
]
TRUST_ACTIONS = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
NAMES = ["ann", "bob", "Ann", "a*b"]


def resources(account: str) -> list[str]:
    batch = f"arn:aws:batch:eu-west-1:{account}"
    return [
        f"{batch}:job-queue/ann",
        f"{batch}:job-queue/team/ann",
        f"{batch}:job-definition/bob:1",
        f"{batch}:job-definition/a*b:1",
        f"arn:aws:iam::{account}:role/ops",
        f"arn:aws:iam::{account}:role/team/ops",
    ]


def resource_patterns(account: str) -> list[str]:
    batch = f"arn:aws:batch:eu-west-1:{account}"
    return [
        *resources(account),
        f"{batch}:*",
        f"{batch}:job-queue/*",
        f"{batch}:job-queue/a?n",
        f"{batch}:job-queue/Ann",
        f"{batch}:job-definition/*:1",
        f"arn:aws:batch:*:{account}:job*",
        f"arn:aws:*:*:{account}:*",
        "arn:*:*:*:*:*",
        "arn:*:*:*:*:1",
        "arn:aws:*:job-queue/*:*:*",
        "arn:aws:s3:*:*:b/ann",
        f"arn:aws:iam::{account}:role/*",
        "arn:aws:s3:::bucket/*",
        "arn:aws:s3:::bucket/${aws:username}/*",
        f"{batch}:job-queue/${{aws:username}}",
        f"{batch}:job-queue/*${{AWS:UserName, 'ann'}}",
        f"{batch}:job-definition/a${{*}}b:1",
        f"{batch}:job-definition/${{aws:PrincipalTag/name}}:?",
        f"{batch}:job-definition/${{aws:TagKeys}}:1",
        f"{batch}:job-queue/${{aws:PrincipalTag/name, 'team/ann'}}",
    ]


TEXTS = ["ann", "bob", "Ann", "a*b", "anna", "$"]
TEXT_PATTERNS = [
    *TEXTS, "a*", "?nn", "*", "*n*", "a${*}b", "${$}", "${?}nn", "${aws:username}", "${aws:PrincipalTag/name, 'bob'}",
    "${no:such}", "${aws:username}*", "${aws:TagKeys}", "${no:such, 'ann'}",
]  # fmt: skip
NUMBERS = ["0", "5", "10", "10.0", "-3", "7.5"]
DATES = [
    "2026-01-01T00:00:00Z",
    "2026-06-01T12:00:00Z",
    "1767225600",
    "2026-06-01T14:00:00+02:00",
    "2026-06-02",
    "1780315200",
]
BINARIES = ["YW5u", "Ym9i", "AA=="]
ADDRESSES = ["10.1.2.3", "10.1.9.9", "192.168.0.1", "2001:db8::1", "2001:db8:1::5"]
NETWORKS = [
    *ADDRESSES,
    "10.1.2.0/24",
    "10.1.2.7/16",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "2001:db8::/128",
    "192.168.0.0/31",
]
ARNS = [
    "arn:aws:batch:eu-west-1:111111111111:job-queue/ann",
    "arn:aws:iam::111111111111:role/ops",
    "arn:aws:iam::222222222222:user/team/bob",
    "arn:aws:s3:::bucket/a:b/ann",
]
ARN_PATTERNS = [
    *ARNS, "arn:aws:*:*:*:*", "arn:aws:iam::*:role/*", "arn:aws:iam::11111111111?:*", "arn:aws:*:*:*:ann",
    "arn:aws:s3:*:*:b/ann", "arn:*:*:*:*:*ann",
    "arn:aws:iam::222222222222:user/*/${aws:username}", "arn:aws:batch:eu-west-1:111111111111:job-queue/${aws:username, 'ann'}",
]  # fmt: skip

# family: (operators, single-valued keys, multivalued keys, request values, policy values)
FAMILIES: dict[str, tuple[list[str], list[str], list[str], list[str], list[Any]]] = {
    "String": (
        ["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike"],
        ["aws:RequestTag/Team", "aws:ResourceTag/Team", "aws:PrincipalTag/name", "aws:username"],
        ["aws:TagKeys", "x:Words"],
        TEXTS,
        list(TEXT_PATTERNS),
    ),
    "Numeric": (
        [f"Numeric{end}" for end in ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")],
        ["aws:MultiFactorAuthAge"],
        ["x:Numbers"],
        NUMBERS,
        [*NUMBERS, 5, 10, 7.5],
    ),
    "Date": (
        [f"Date{end}" for end in ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")],
        ["aws:CurrentTime", "aws:EpochTime"],
        ["x:Dates"],
        DATES,
        list(DATES),
    ),
    "Bool": (
        ["Bool"],
        ["aws:SecureTransport", "aws:MultiFactorAuthPresent"],
        ["x:Bools"],
        ["true", "false"],
        ["true", "false", True, False],
    ),
    "Binary": (["BinaryEquals"], ["x:Binary"], ["x:Binaries"], BINARIES, list(BINARIES)),
    "Ip": (["IpAddress", "NotIpAddress"], ["aws:SourceIp"], ["x:Addresses"], ADDRESSES, list(NETWORKS)),
    "Arn": (
        ["ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"],
        ["aws:SourceArn", "aws:PrincipalArn"],
        ["x:Arns"],
        ARNS,
        list(ARN_PATTERNS),
    ),
}  # fmt: skip


def caller(draw: random.Random) -> Json:
    account = draw.choice([HERE, HERE, HERE, THERE])
    kind = draw.choices(["user", "assumed-role", "federated-user", "root", "service"], [38, 33, 10, 11, 8])[0]
    name = draw.choice(["ann", "bob"])
    if kind == "root":
        return {"kind": kind, "account": account, "arn": f"arn:aws:iam::{account}:root", "user_id": account}
    if kind == "user":
        path = draw.choice(["", "team/"])
        arn = f"arn:aws:iam::{account}:user/{path}{name}"
        return {"kind": kind, "account": account, "arn": arn, "user_id": f"AIDA{name.upper()}", "user_name": name}
    if kind == "federated-user":
        arn = f"arn:aws:sts::{account}:federated-user/{name}"
        return {"kind": kind, "account": account, "arn": arn, "user_id": f"{account}:{name}"}
    if kind == "service":
        arn = draw.choice(["batch.amazonaws.com", "ec2.amazonaws.com"])
        return {"kind": kind, "account": HERE, "arn": arn, "user_id": arn}
    role = draw.choice(["ops", "team/ops"])
    return {
        "kind": kind,
        "account": account,
        "arn": f"arn:aws:sts::{account}:assumed-role/ops/{name}",
        "user_id": f"AROAOPS:{name}",
        "role_arn": f"arn:aws:iam::{account}:role/{role}",
        "role_id": "AROAOPS",
        "session_name": name,
    }


def request_context(draw: random.Random, who: Json) -> dict[str, Any]:
    context: dict[str, Any] = {
        "aws:principalaccount": who["account"],
        "aws:principalarn": who.get("role_arn", who["arn"]),
        "aws:userid": who["user_id"],
    }
    if who["kind"] == "service":
        del context["aws:principalarn"]
    for operators, single, several, values, _ in FAMILIES.values():
        assert operators
        for key in single:
            if key.lower() not in ("aws:username", "aws:principalarn") and draw.random() < 0.65:
                context[key.lower()] = draw.choice(values)
        for key in several:
            if draw.random() < 0.65:
                least = 2 if key == "aws:TagKeys" else 1  # whether a list of one may be a variable is not said
                context[key.lower()] = draw.sample(values, draw.randint(least, min(3, len(values))))
    if "user_name" in who:
        context["aws:username"] = who["user_name"]
    return context


def one_or_list(draw: random.Random, values: list[Any]) -> Any:
    return values[0] if len(values) == 1 and draw.random() < 0.6 else values


def respelt(draw: random.Random, key: str) -> str:
    return draw.choice([key, key, key, key.lower(), key.upper()])


def condition(draw: random.Random, context: dict[str, Any]) -> Json:
    block: Json = {}
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        operators, single, several, _, wanted = FAMILIES[draw.choice(list(FAMILIES))]
        if draw.random() < 0.1:
            key = draw.choice(single + several)
            block.setdefault("Null", {})[key] = one_or_list(
                draw, draw.sample(["true", "false", True, False], draw.choice([1, 1, 1, 2]))
            )
            continue
        operator = draw.choice(operators)
        values = draw.sample(wanted, draw.randint(1, 3 if len(wanted) > 3 else 2))
        is_set = draw.random() < 0.3
        key = draw.choice(single + several + several if is_set else single)
        present = context.get(key.lower())
        if present is not None and draw.random() < 0.4:
            values[0] = draw.choice(present) if isinstance(present, list) else present
        if is_set:
            operator = draw.choice(["ForAllValues:", "ForAnyValue:"]) + operator
        if draw.random() < 0.2:
            operator += "IfExists"
        block.setdefault(operator, {})[key] = one_or_list(draw, values)
    return {operator: {respelt(draw, key): values for key, values in keys.items()} for operator, keys in block.items()}


def principals(draw: random.Random, who: Json, is_trust: bool) -> Any:
    """A Principal element, one time in two with something that names the caller."""
    names: dict[str, list[str]] = {}
    others = [
        ("AWS", f"arn:aws:iam::{HERE}:user/eve"),
        ("AWS", "333333333333"),
        ("AWS", f"arn:aws:iam::{HERE}:role/other"),
        ("AWS", f"arn:aws:sts::{HERE}:assumed-role/ops/eve"),
        ("AWS", "AIDAEVE"),
        ("Service", "ecs-tasks.amazonaws.com"),
        ("Federated", "accounts.google.com"),
    ]
    mine: list[tuple[str, str]]
    if who["kind"] == "service":
        mine = [("Service", who["arn"])]
    else:
        account = who["account"]
        mine = [
            ("AWS", who["arn"]),
            ("AWS", who["arn"]),
            ("AWS", account),
            ("AWS", f"arn:aws:iam::{account}:root"),
            ("AWS", "*"),
        ]
        if who["kind"] == "user":
            mine.append(("AWS", who["user_id"]))
        if who["kind"] == "assumed-role":
            mine += [("AWS", who["role_arn"]), ("AWS", who["role_arn"]), ("AWS", who["role_id"])]
        if not is_trust and draw.random() < 0.07:
            return "*"
    for kind, name in draw.sample(others, draw.choice([0, 1, 2])) + (
        [draw.choice(mine)] if draw.random() < 0.6 else []
    ):
        names.setdefault(kind, []).append(name)
    if not names:
        kind, name = draw.choice(mine)
        names[kind] = [name]
    return {kind: one_or_list(draw, values) for kind, values in names.items()}


def spared(draw: random.Random, who: Json) -> Any:
    """A NotPrincipal element: all that spares the caller, or others alone."""
    others = [f"arn:aws:iam::{HERE}:user/eve", "333333333333"]
    if draw.random() < 0.3:
        return {"AWS": others}
    if who["kind"] == "service":
        return {"Service": who["arn"]}
    mine = [who["account"] if draw.random() < 0.5 else f"arn:aws:iam::{who['account']}:root", who["arn"]]
    if "role_arn" in who:
        mine.append(who["role_arn"])
    return {"AWS": [*mine, *draw.sample(others, draw.choice([0, 1]))]}


def statement(draw: random.Random, case: Json, form: str, *, broad: float) -> Json:
    """`form`: permissions, resource or trust. `broad`: how often it allows what is asked without more ado."""
    is_broad = draw.random() < broad
    made: Json = {"Effect": "Allow" if is_broad or draw.random() < 0.8 else "Deny"}
    if draw.random() < 0.2:
        made["Sid"] = f"S{draw.randrange(1_000_000_000)}"
    actions = TRUST_ACTIONS if form == "trust" else ACTION_PATTERNS
    chosen = draw.sample(actions, draw.randint(1, min(3, len(actions))))
    if form == "trust" or draw.random() < 0.8:
        if is_broad or draw.random() < 0.3:
            chosen[0] = case["action"]
        made["Action"] = one_or_list(draw, list(dict.fromkeys(chosen)))
    else:
        chosen = [one for one in chosen if one != "*"] or ["ec2:*"]
        made["NotAction"] = one_or_list(draw, chosen)
    if form != "trust":
        account = draw.choice([HERE, HERE, THERE])
        wanted = draw.sample(resource_patterns(account), draw.randint(1, 3))
        if draw.random() < 0.85:
            if is_broad or draw.random() < 0.4:
                wanted[0] = draw.choice(["*", case["resource"]])
            made["Resource"] = one_or_list(draw, wanted)
        else:
            made["NotResource"] = one_or_list(draw, wanted)
    if draw.random() < (0.1 if is_broad else 0.55):
        made["Condition"] = condition(draw, case["context"])
    if form != "permissions":
        if made["Effect"] == "Deny" and form == "resource" and draw.random() < 0.4:
            made["NotPrincipal"] = spared(draw, case["who"])
        else:
            made["Principal"] = principals(draw, case["who"], form == "trust")
    keys = list(made)
    draw.shuffle(keys)
    return {key: made[key] for key in keys}


def document(draw: random.Random, case: Json, form: str = "permissions", *, broad: float) -> Json:
    count = draw.choice([1, 2, 2, 3, 4])
    statements = [statement(draw, case, form, broad=broad if number == 0 else 0.1) for number in range(count)]
    draw.shuffle(statements)
    made: Json = {"Statement": statements[0] if count == 1 and draw.random() < 0.4 else statements}
    version = draw.choices(["2012-10-17", "2008-10-17", None], [75, 15, 10])[0]
    return made if version is None else {"Version": version, **made}


def one_point(draw: random.Random, case: Json) -> Json:
    """A document that turns on one condition, one action or one resource alone."""
    made: Json = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    point = draw.choice(["Condition", "Condition", "Condition", "Action", "Resource"])
    if point == "Condition":
        made["Condition"] = condition(draw, case["context"])
    else:
        patterns = ACTION_PATTERNS if point == "Action" else resource_patterns(HERE)
        chosen = one_or_list(draw, draw.sample(patterns, draw.choice([1, 1, 2])))
        del made[point]
        made[draw.choice([point, point, "Not" + point])] = chosen
    statements = [made]
    if draw.random() < 0.4:
        made["Effect"] = "Deny"
        statements.append({"Effect": "Allow", "Action": "*", "Resource": "*"})
    return {"Version": draw.choice(["2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17"]), "Statement": statements}


ALL: Json = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
OTHERWISE: Json = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"},
}


def who_allows(draw: random.Random, case: Json, *, is_trust: bool) -> Json:
    """Which kinds of policy allow all and which are silent, and in which way the resource's own policy names the caller."""
    who = case["who"]

    def either() -> Json:
        return draw.choice([ALL, OTHERWISE])

    is_session = who["kind"] in ("assumed-role", "federated-user")
    allowing: Json = {"Effect": "Allow", "Principal": principals(draw, who, is_trust), "Action": case["action"]}
    if draw.random() < 0.3 and "aws:principalarn" in case["context"]:
        arn = case["context"]["aws:principalarn"]
        wanted = draw.choice([arn, arn, arn.rpartition(":")[0] + ":*", f"arn:aws:iam::{THERE}:role/eve"])
        allowing["Condition"] = {
            draw.choice(["ArnEquals", "ArnLike", "StringEquals", "StringLike"]): {"aws:PrincipalArn": wanted}
        }
    statements = [allowing]
    if draw.random() < 0.25:
        denying = {"Effect": "Deny", "Action": case["action"]}
        if is_trust or draw.random() < 0.3:
            statements.append(denying | {"Principal": principals(draw, who, is_trust)})
        else:
            statements.append(denying | {"NotPrincipal": spared(draw, who)})
    if not is_trust:
        statements = [one | {"Resource": "*"} for one in statements]
    return case | {
        "identity": [either() for _ in range(draw.choice([0, 1, 1]))] if is_session or who["kind"] == "user" else [],
        "boundary": either() if who["kind"] in ("user", "assumed-role") and draw.random() < 0.4 else None,
        "session": [either() for _ in range(draw.choice([0, 1, 1, 2]))] if is_session else [],
        "service_control": [[either()] for _ in range(draw.choice([0, 0, 0, 0, 1, 2]))]
        if who["kind"] != "service"
        else [],
        "resource_policy": {"Version": "2012-10-17", "Statement": statements},
        "is_trust": is_trust,
    }


def make(seed: int, number: int) -> Json:
    """The case as the arguments of `reference.decide`."""
    draw = random.Random(f"{seed}/{number}")
    who = caller(draw)
    is_trust = draw.random() < (0.6 if who["kind"] == "service" else 0.2)
    owner = HERE if who["kind"] == "service" or draw.random() < 0.8 else THERE
    case: Json = {"who": who, "context": request_context(draw, who)}
    if is_trust:
        case |= {
            "action": draw.choice(TRUST_ACTIONS[:2]),
            "resource": f"arn:aws:iam::{owner}:role/{draw.choice(['ops', 'team/ops'])}",
        }
    else:
        elsewhere = ["*", "arn:aws:s3:::bucket/ann/x", "arn:aws:s3:::bucket/a:b/ann"]
        case |= {
            "action": draw.choice(ACTIONS),
            "resource": draw.choice(resources(owner) + resources(owner) + elsewhere),
        }
    if not is_trust and who["kind"] != "service" and case["resource"].startswith("arn:aws:s3") and draw.random() < 0.5:
        case["owner"] = draw.choice([HERE, THERE])
    has_policies = who["kind"] in ("user", "assumed-role", "federated-user")
    has_session = who["kind"] in ("assumed-role", "federated-user") and draw.random() < (
        0.5 if who["kind"] == "assumed-role" else 0.85
    )
    has_boundary = who["kind"] in ("user", "assumed-role") and draw.random() < 0.3
    levels = draw.choice([1, 2, 3]) if who["kind"] != "service" and draw.random() < 0.25 else 0
    if has_policies and not is_trust and draw.random() < 0.3:
        case.pop("owner", None)
        nothing = {"boundary": None, "session": [], "service_control": [], "resource_policy": None, "is_trust": False}
        if who["kind"] == "federated-user":
            nothing["session"] = [{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}]
        return case | nothing | {"identity": [one_point(draw, case)]}
    if case["resource"] != "*" and draw.random() < 0.25:
        return who_allows(draw, case, is_trust=is_trust)
    with_resource_policy = is_trust or (
        case["resource"] != "*" and draw.random() < (0.95 if who["kind"] == "service" else 0.4)
    )
    return case | {
        "identity": [document(draw, case, broad=0.5) for _ in range(draw.choice([0, 1, 1, 2, 3]))]
        if has_policies
        else [],
        "boundary": document(draw, case, broad=0.7) if has_boundary else None,
        "session": [document(draw, case, broad=0.6) for _ in range(draw.choice([1, 1, 2]))] if has_session else [],
        "service_control": [
            [document(draw, case, broad=0.9) for _ in range(draw.choice([1, 2]))] for _ in range(levels)
        ],
        "resource_policy": document(draw, case, "trust" if is_trust else "resource", broad=0.4)
        if with_resource_policy
        else None,
        "is_trust": is_trust,
    }


def neighbours(seed: int, number: int, case: Json) -> Iterator[Json]:
    """Other questions to the same policies, each a little different from the case's."""
    draw = random.Random(f"{seed}/{number}/neighbours")
    keys = list(case["context"])
    for key in draw.sample(keys, 3):
        yield case | {"context": {name: value for name, value in case["context"].items() if name != key}}
    other = request_context(draw, case["who"])
    yield case | {"context": other}
    for key in draw.sample(sorted(case["context"].keys() & other.keys()), 3):
        yield case | {"context": case["context"] | {key: other[key]}}
    yield case | {"action": draw.choice(ACTIONS)}
    yield case | {"resource": draw.choice(resources(HERE))}
    yield case
