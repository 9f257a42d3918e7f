"""The tables of `tables/`: every row asked of the evaluator, of the simulator over the wire, and by those who may call."""

from __future__ import annotations

import json
from typing import Any

from in_process import InProcessHouse
from longshore.aws.principal import Principal, root, service
from longshore.policy import validate
from longshore.policy.conditions import OPERATORS
from longshore.policy.document import Document, compile_document
from longshore.policy.evaluate import Policies, Question, decide, evaluate
from policy.tables import conditions, decisions, matching, principals
from policy.tables.row import (
    ACCOUNT,
    ALLOWED,
    DENIED,
    FEDERATED,
    OTHER,
    OWN_ROLE,
    ROOT,
    SESSION,
    SILENT,
    STRANGER,
    USER,
    Row,
    trusting,
)

ROWS = [*matching.ROWS, *conditions.ROWS, *principals.ROWS, *decisions.ROWS]
WHO = {
    "user": Principal(kind="user", account=ACCOUNT, arn=USER, user_id="AIDAANN234567ABCDEFGH", user_name="ann"),
    "session": Principal(
        kind="assumed-role",
        account=ACCOUNT,
        arn=SESSION,
        user_id="AROAOPS234567ABCDEFGH:job",
        role_arn=OWN_ROLE,
        role_id="AROAOPS234567ABCDEFGH",
    ),
    "federated": Principal(kind="federated-user", account=ACCOUNT, arn=FEDERATED, user_id=f"{ACCOUNT}:ann"),
    "root": root(ACCOUNT),
    "stranger": Principal(kind="user", account=OTHER, arn=STRANGER, user_id="AIDASTRANGER34567ABCD", user_name="ann"),
    "service": service("ec2.amazonaws.com", ACCOUNT),
}
KINDS = {
    "control": "service control policy",
    "identity": "identity-based policy",
    "boundary": "permissions boundary",
    "session": "session policy",
    "resource": "resource-based policy",
    "trust": "role trust policy",
}


def because(row: Row) -> str | None:
    """The end of AWS's message; None: the row does not tell."""
    if row.expected == ALLOWED:
        return ""
    if not row.by:
        return None
    if row.expected == DENIED:
        article = "an" if row.by == "identity" else "the" if row.by == "trust" else "a"
        return f"with an explicit deny in {article} {KINDS[row.by]}"
    return f"because no {KINDS[row.by]} allows the {row.action} action"


def compiled(row: Row) -> tuple[Question, Policies, Document | None]:
    context = {key.lower(): value for key, value in row.context.items()}
    policies = Policies(
        identity=tuple(map(compile_document, row.identity)),
        boundary=compile_document(row.boundary) if row.boundary else None,
        session=tuple(map(compile_document, row.session)),
        service_control=tuple(tuple(map(compile_document, level)) for level in row.control),
    )
    resource = compile_document(row.resource_policy) if row.resource_policy else None
    return Question(WHO[row.who], row.action, row.resource, context), policies, resource


def test_the_evaluator_decides_as_the_tables_say() -> None:
    wrong = []
    for number, row in enumerate(ROWS):
        question, policies, resource = compiled(row)
        decision = evaluate(question, policies, resource, "trust" if row.is_trust else None, owner=row.owner)
        found = ALLOWED if decision.allowed else DENIED if decision.is_explicit else SILENT
        if found != row.expected or because(row) not in (None, decision.because):
            wrong.append((number, row, decision))
        if resource is None and row.owner is None:
            assert decide(question, policies) == decide(question, policies) == decision
    assert wrong == []


def test_the_tables_have_a_row_for_everything() -> None:
    """Every operator with and without each modifier, every principal form, every reason that can be told."""
    used = {
        operator.lower()
        for row in ROWS
        for each in row.identity
        for statement in each["Statement"] if isinstance(each["Statement"], list) for operator in statement.get("Condition", {})
    }  # fmt: skip
    for operator in OPERATORS:
        for before in ("", "forallvalues:", "foranyvalue:"):
            for after in ("", "ifexists"):
                assert f"{before}{operator}{after}" in used, (before, operator, after)
    assert "null" in used
    told = {(row.expected, row.by) for row in ROWS if row.by}
    assert told == {(said, by) for said in (DENIED, SILENT) for by in KINDS}
    assert len(ROWS) > 1000


def test_the_documents_of_the_tables_are_valid() -> None:
    for row in ROWS:
        control = [document for level in row.control for document in level]
        for document in (*row.identity, *row.session, *control, *([row.boundary] if row.boundary else [])):
            validate.check_identity(json.dumps(document), managed=False)
        if row.resource_policy:
            validate.check_resource_policy(json.dumps(row.resource_policy))


# Over the wire -------------------------------------------------------------------------------------------------------


# Session policies cannot be handed to the simulator, nor can a service call.
SIMULATED = [row for row in ROWS if not row.session and row.who != "service"]
CALLERS = {"user": USER, "session": SESSION, "federated": FEDERATED, "root": ROOT, "stranger": STRANGER}
NOTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "none:None", "Resource": "*"}}


def test_the_simulator_says_what_the_tables_say() -> None:
    house = InProcessHouse()
    iam = house.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": trusting({"Service": "ec2.amazonaws.com"})})
    ids = {
        "AIDAANN234567ABCDEFGH": iam.create_user(UserName="ann")["User"]["UserId"],
        "AROAOPS234567ABCDEFGH": iam.create_role(RoleName="ops", Path="/team/", AssumeRolePolicyDocument=trust)["Role"][
            "RoleId"
        ],
    }
    wrong = []
    for number, row in enumerate(SIMULATED):
        (result,) = iam.simulate_custom_policy(**simulation(row, ids))["EvaluationResults"]
        matched = bool(result["MatchedStatements"])
        if result["EvalDecision"] != row.expected or (matched and row.expected == SILENT):
            wrong.append((number, row, result["EvalDecision"]))
    house.close()
    assert wrong == []
    assert len(SIMULATED) > 1000


def simulation(row: Row, ids: dict[str, str]) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "PolicyInputList": [json.dumps(each) for each in row.identity] or [json.dumps(NOTHING)],
        "ActionNames": [row.action],
        "CallerArn": CALLERS[row.who],
        "ContextEntries": [entry(name, value) for name, value in row.context.items()],
    }
    if row.resource != "*":
        asked["ResourceArns"] = [row.resource]
    if row.boundary:
        asked["PermissionsBoundaryPolicyInputList"] = [json.dumps(row.boundary)]
    if row.control:
        asked["OrderedOrganizationPolicyInputList"] = [
            {"ServiceControlPolicyInputList": [json.dumps(each) for each in level]} for level in row.control
        ]
    if row.resource_policy:
        asked["ResourcePolicy"] = json.dumps(row.resource_policy)
        for unique_id, real in ids.items():
            asked["ResourcePolicy"] = asked["ResourcePolicy"].replace(f'"{unique_id}"', f'"{real}"')
    if row.owner:
        asked["ResourceOwner"] = f"arn:aws:iam::{row.owner}:root"
    return asked


def entry(name: str, value: str | list[str]) -> dict[str, Any]:
    if isinstance(value, str):
        return {"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "string"}
    return {"ContextKeyName": name, "ContextKeyValues": value, "ContextKeyType": "stringList"}
