"""The policy simulator over the wire, as botocore reads its answers."""

from __future__ import annotations

import json

import pytest

from accounts import limit
from people import EC2_TRUST, Person, allow, deny, document, trust
from refusals import refused, unchecked

ACCOUNT = "123456789012"
ANNA = f"arn:aws:iam::{ACCOUNT}:user/anna"
QUEUE = f"arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/q"
TRUNCATION = {"ResponseMetadata", "IsTruncated"}


def decisions(answer) -> list[str]:
    return [each["EvalDecision"] for each in answer["EvaluationResults"]]


def test_a_custom_policy_is_answered_as_aws_answers_it(house) -> None:
    """The first example of the aws command's own page of simulate-custom-policy."""
    policy = (
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*",'
        '"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}'
    )
    entry = {
        "ContextKeyName": "aws:CurrentTime",
        "ContextKeyValues": ["2019-04-25T11:00:00Z"],
        "ContextKeyType": "date",
    }
    iam = house.client("iam")
    answer = iam.simulate_custom_policy(
        PolicyInputList=[policy], ActionNames=["dynamodb:CreateBackup"], ContextEntries=[entry]
    )
    assert set(answer) == {"EvaluationResults", *TRUNCATION} and answer["IsTruncated"] is False
    assert answer["EvaluationResults"] == [
        {
            "EvalActionName": "dynamodb:CreateBackup",
            "EvalResourceName": "*",
            "EvalDecision": "allowed",
            "MatchedStatements": [
                {
                    "SourcePolicyId": "PolicyInputList.1",
                    "SourcePolicyType": "IAM Policy",
                    "StartPosition": {"Line": 1, "Column": 38},
                    "EndPosition": {"Line": 1, "Column": 167},
                }
            ],
            "MissingContextValues": [],
        }
    ]
    entry["ContextKeyValues"] = ["2014-04-25T11:00:00Z"]
    answer = iam.simulate_custom_policy(
        PolicyInputList=[policy], ActionNames=["dynamodb:CreateBackup"], ContextEntries=[entry]
    )
    assert answer["EvaluationResults"] == [
        {
            "EvalActionName": "dynamodb:CreateBackup",
            "EvalResourceName": "*",
            "EvalDecision": "implicitDeny",
            "MatchedStatements": [],
            "MissingContextValues": [],
        }
    ]
    answer = iam.simulate_custom_policy(PolicyInputList=[policy], ActionNames=["dynamodb:CreateBackup"])
    assert answer["EvaluationResults"][0]["MissingContextValues"] == ["aws:CurrentTime"]


def test_several_resources_are_one_result_with_an_entry_for_each(house) -> None:
    policies = [document(allow("s3:GetObject", "arn:aws:s3:::good/*")), document(deny("s3:*", "arn:aws:s3:::bad/*"))]
    resources = ["arn:aws:s3:::good/x", "arn:aws:s3:::bad/x", "arn:aws:s3:::other/x"]
    result = house.client("iam").simulate_custom_policy(
        PolicyInputList=policies, ActionNames=["s3:GetObject"], ResourceArns=resources
    )["EvaluationResults"][0]
    assert result["EvalResourceName"] == "arn:${Partition}:s3:::${BucketName}/${ObjectName}"
    assert (result["EvalDecision"], result["EvalDecisionDetails"]) == ("explicitDeny", {})
    assert [each["SourcePolicyId"] for each in result["MatchedStatements"]] == ["PolicyInputList.2"]
    found = [(each["EvalResourceName"], each["EvalResourceDecision"]) for each in result["ResourceSpecificResults"]]
    assert found == list(zip(resources, ["allowed", "explicitDeny", "implicitDeny"], strict=True))
    assert result["ResourceSpecificResults"][0]["MatchedStatements"][0]["SourcePolicyId"] == "PolicyInputList.1"


def test_a_principal_s_policies_are_told_by_their_names(house) -> None:
    iam = house.client("iam")
    role = iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)["Role"]["Arn"]
    iam.put_role_policy(RoleName="ops", PolicyName="own", PolicyDocument=document(allow("batch:SubmitJob")))
    made = iam.create_policy(PolicyName="Mine", PolicyDocument=document(allow("batch:*")))["Policy"]["Arn"]
    for arn in (made, "arn:aws:iam::aws:policy/AWSBatchFullAccess"):
        iam.attach_role_policy(RoleName="ops", PolicyArn=arn)
    answer = iam.simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=["batch:SubmitJob", "batch:submitjob", "s3:GetObject"],
        PolicyInputList=[document(deny("s3:*"))],
    )
    assert decisions(answer) == ["allowed", "allowed", "explicitDeny"]
    first, lower, denied = answer["EvaluationResults"]
    assert [each["SourcePolicyId"] for each in first["MatchedStatements"]] == [
        "role_ops_own",
        "Mine",
        "AWSBatchFullAccess",
    ]
    assert lower["EvalActionName"] == "batch:submitjob"
    assert [each["SourcePolicyId"] for each in denied["MatchedStatements"]] == ["PolicyInputList.1"]
    assert "OrganizationsDecisionDetail" not in first and "PermissionsBoundaryDecisionDetail" not in first


def test_the_position_is_that_of_the_document_as_it_was_written(house) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    text = json.dumps(json.loads(document(allow("s3:*"), deny("sqs:*"))), indent=2)
    iam.put_user_policy(UserName="anna", PolicyName="p", PolicyDocument=text)
    answer = iam.simulate_principal_policy(PolicySourceArn=ANNA, ActionNames=["sqs:SendMessage"])
    (matched,) = answer["EvaluationResults"][0]["MatchedStatements"]
    assert matched["SourcePolicyId"] == "user_anna_p"
    lines = text.split("\n")
    start, end = matched["StartPosition"], matched["EndPosition"]
    assert lines[start["Line"] - 1][: start["Column"] - 1] == "    }"
    assert lines[end["Line"] - 1][: end["Column"] - 1] == "    }" and end["Line"] > start["Line"]


def test_the_policies_of_a_user_s_groups_count(house) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    iam.create_group(GroupName="team")
    iam.add_user_to_group(GroupName="team", UserName="anna")
    iam.put_group_policy(GroupName="team", PolicyName="g", PolicyDocument=document(allow("batch:*")))
    for arn in (ANNA, f"arn:aws:iam::{ACCOUNT}:group/team"):
        answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["batch:SubmitJob"])
        (matched,) = answer["EvaluationResults"][0]["MatchedStatements"]
        assert matched["SourcePolicyId"] == "group_team_g"


def test_a_boundary_is_told_apart(house) -> None:
    iam = house.client("iam")
    look = iam.create_policy(
        PolicyName="look", PolicyDocument=document(allow("batch:Describe*"), deny("batch:TagResource"))
    )
    iam.create_user(UserName="anna", PermissionsBoundary=look["Policy"]["Arn"])
    iam.put_user_policy(UserName="anna", PolicyName="p", PolicyDocument=document(allow("batch:*")))
    actions = ["batch:DescribeJobs", "batch:SubmitJob", "batch:TagResource"]
    answer = iam.simulate_principal_policy(PolicySourceArn=ANNA, ActionNames=actions)
    assert decisions(answer) == ["allowed", "implicitDeny", "explicitDeny"]
    results = answer["EvaluationResults"]
    details = [each["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"] for each in results]
    assert details == [True, False, False]
    assert [len(each["MatchedStatements"]) for each in results] == [1, 0, 1]
    (denying,) = results[2]["MatchedStatements"]
    assert (denying["SourcePolicyId"], denying["SourcePolicyType"]) == ("look", "Permissions Boundary Policy")
    # One that is given takes its place.
    wide = iam.simulate_principal_policy(
        PolicySourceArn=ANNA, ActionNames=actions, PermissionsBoundaryPolicyInputList=[document(allow("*"))]
    )
    assert decisions(wide) == ["allowed"] * 3
    without = iam.simulate_principal_policy(
        PolicySourceArn=ANNA, ActionNames=actions, PolicyExclusionList=[{"PolicyType": "permission-boundary"}]
    )
    assert decisions(without) == ["allowed"] * 3
    assert "PermissionsBoundaryDecisionDetail" not in without["EvaluationResults"][0]


EXCLUSIONS = [
    ([{"PolicyType": "inline"}], ["Mine", "AWSBatchFullAccess"]),
    ([{"PolicyType": "user-managed"}], ["role_ops_own", "AWSBatchFullAccess"]),
    ([{"PolicyType": "aws-managed"}], ["role_ops_own", "Mine"]),
    ([{"PolicyArn": "arn:aws:iam::aws:policy/AWSBatch*"}], ["role_ops_own", "Mine"]),
    ([{"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/M?ne"}], ["role_ops_own", "AWSBatchFullAccess"]),
    ([{"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/Other"}], ["role_ops_own", "Mine", "AWSBatchFullAccess"]),
    (
        [{"InlinePolicyIdentifier": {"PolicyName": "own", "AttachmentType": "role", "AttachmentName": "ops"}}],
        ["Mine", "AWSBatchFullAccess"],
    ),
    (
        [{"InlinePolicyIdentifier": {"PolicyName": "own", "AttachmentType": "user", "AttachmentName": "ops"}}],
        ["role_ops_own", "Mine", "AWSBatchFullAccess"],
    ),
    ([{"PolicyType": "inline"}, {"PolicyType": "user-managed"}, {"PolicyType": "rcp"}], ["AWSBatchFullAccess"]),
]


def test_policies_can_be_thought_away(house) -> None:
    iam = unchecked(house.client("iam"))
    role = iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)["Role"]["Arn"]
    iam.put_role_policy(RoleName="ops", PolicyName="own", PolicyDocument=document(allow("batch:*")))
    made = iam.create_policy(PolicyName="Mine", PolicyDocument=document(allow("batch:*")))["Policy"]["Arn"]
    for arn in (made, "arn:aws:iam::aws:policy/AWSBatchFullAccess"):
        iam.attach_role_policy(RoleName="ops", PolicyArn=arn)
    for excluded, left in EXCLUSIONS:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=role, ActionNames=["batch:SubmitJob"], PolicyExclusionList=excluded
        )
        matched = answer["EvaluationResults"][0]["MatchedStatements"]
        assert [each["SourcePolicyId"] for each in matched] == left, excluded
    for wrong in (
        {"PolicyArn": "arn:aws:s3:::not-a-policy"},
        {"PolicyArn": "arn:aws:iam::aws:policy/*a*"},
        {"PolicyType": "inline", "PolicyArn": made},
    ):
        with refused("InvalidInput", status=400):
            iam.simulate_principal_policy(
                PolicySourceArn=role, ActionNames=["batch:SubmitJob"], PolicyExclusionList=[wrong]
            )


def test_a_resource_policy_needs_one_who_calls(house) -> None:
    iam = house.client("iam")
    policy = document({"Effect": "Allow", "Principal": {"AWS": ANNA}, "Action": "sqs:*", "Resource": "*"})
    asked = {"PolicyInputList": [document(allow("s3:*"))], "ActionNames": ["sqs:SendMessage"], "ResourcePolicy": policy}
    with refused("InvalidInput", status=400):
        iam.simulate_custom_policy(**asked)
    own, theirs = (f"arn:aws:sqs:us-east-1:{account}:q" for account in (ACCOUNT, "210987654321"))
    result = iam.simulate_custom_policy(**asked, CallerArn=ANNA, ResourceArns=[own, theirs])["EvaluationResults"][0]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["EvalDecisionDetails"] == {"IAM Policy": "implicitDeny", "Resource Policy": "allowed"}
    here, there = result["ResourceSpecificResults"]
    assert here["EvalResourceDecision"] == "allowed" and "EvalDecisionDetails" not in here
    (matched,) = here["MatchedStatements"]
    assert (matched["SourcePolicyId"], matched["SourcePolicyType"]) == ("ResourcePolicy", "Resource Policy")
    assert there["EvalDecisionDetails"] == result["EvalDecisionDetails"]
    owner = {"ResourceArns": ["arn:aws:s3:::b"], "ResourceOwner": "arn:aws:iam::210987654321:root"}
    assert decisions(iam.simulate_custom_policy(**asked, CallerArn=ANNA, **owner)) == ["implicitDeny"]


def test_unique_ids_in_a_resource_policy_are_those_of_who_is_there(house) -> None:
    iam = house.client("iam")
    user_id = iam.create_user(UserName="anna")["User"]["UserId"]
    policy = document({"Effect": "Allow", "Principal": {"AWS": user_id}, "Action": "sqs:*", "Resource": "*"})
    asked = {"PolicySourceArn": ANNA, "ActionNames": ["sqs:SendMessage"], "ResourcePolicy": policy}
    assert decisions(iam.simulate_principal_policy(**asked)) == ["allowed"]
    other = f"arn:aws:iam::{ACCOUNT}:user/bert"
    assert decisions(iam.simulate_principal_policy(**asked, CallerArn=other)) == ["implicitDeny"]


def test_sessions_and_trust_policies_are_looked_at_too(house) -> None:
    """Ours, not AWS's: it refuses both."""
    iam = house.client("iam")
    role = iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)["Role"]["Arn"]
    iam.put_role_policy(RoleName="ops", PolicyName="own", PolicyDocument=document(allow("sts:AssumeRole", role)))
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/i-0abc"
    for principal, decision in ((role, "allowed"), (session, "allowed"), (ANNA, "implicitDeny")):
        answer = iam.simulate_principal_policy(
            PolicySourceArn=session,
            CallerArn=principal,
            ActionNames=["sts:AssumeRole"],
            ResourceArns=[role],
            ResourcePolicy=trust({"AWS": role}),
        )
        assert decisions(answer) == [decision]
    root = f"arn:aws:iam::{ACCOUNT}:root"
    federated = f"arn:aws:sts::{ACCOUNT}:federated-user/f"
    asked = {"PolicyInputList": [document(allow("s3:*"))], "ActionNames": ["sqs:SendMessage"]}
    assert decisions(iam.simulate_custom_policy(**asked, CallerArn=root)) == ["allowed"]
    assert decisions(iam.simulate_custom_policy(**asked, CallerArn=federated)) == ["implicitDeny"]


def test_the_levels_of_an_organization_are_thought_in(house) -> None:
    iam = house.client("iam")
    asked = {"PolicyInputList": [document(allow("*"))], "ActionNames": ["batch:SubmitJob", "s3:GetObject"]}
    levels = [
        {"ServiceControlPolicyInputList": [document(allow("*"))]},
        {"ServiceControlPolicyInputList": [document(allow("batch:*")), document(deny("sqs:*"))]},
    ]
    answer = iam.simulate_custom_policy(**asked, OrderedOrganizationPolicyInputList=levels)
    assert decisions(answer) == ["allowed", "implicitDeny"]
    details = [each["OrganizationsDecisionDetail"] for each in answer["EvaluationResults"]]
    assert details == [{"AllowedByOrganizations": True}, {"AllowedByOrganizations": False}]


def test_context_keys_have_types(house) -> None:
    iam = house.client("iam")

    def decided(operator: str, value, kind: str, *values: str) -> str:
        policy = document(allow("a:B", Condition={operator: {"a:key": value}}))
        entry = {"ContextKeyName": "A:Key", "ContextKeyValues": list(values), "ContextKeyType": kind}
        (decision,) = decisions(
            iam.simulate_custom_policy(PolicyInputList=[policy], ActionNames=["a:B"], ContextEntries=[entry])
        )
        return decision

    assert decided("StringEquals", "x", "string", "x") == "allowed"
    assert decided("ForAllValues:StringEquals", ["x", "y"], "stringList", "y", "x") == "allowed"
    assert decided("ForAllValues:StringEquals", ["x", "y"], "stringList", "y", "z") == "implicitDeny"
    assert decided("NumericLessThan", "10", "numeric", "9.5") == "allowed"
    assert decided("ForAnyValue:NumericEquals", "10", "numericList", "9", "10") == "allowed"
    assert decided("Bool", "true", "boolean", "True") == "allowed"
    assert decided("IpAddress", "10.0.0.0/8", "ip", "10.1.2.3") == "allowed"
    assert decided("BinaryEquals", "aGk=", "binary", "aGk=") == "allowed"
    assert decided("DateLessThan", "2030-01-01T00:00:00Z", "date", "1700000000") == "allowed"
    assert decided("Null", "true", "stringList") == "allowed"
    for kind, wrong in (
        ("numeric", "ten"), ("boolean", "yes"), ("ip", "here"), ("binary", "?"), ("date", "soon"), ("ipList", "x"),
    ):  # fmt: skip
        with refused("InvalidInput", status=400):
            decided("StringEquals", "x", kind, wrong)


def test_keys_that_policies_look_at(house) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    policy = document(
        allow("dynamodb:*", "arn:aws:dynamodb:us-west-2:123456789012:table/${aws:username}"),
        allow("*", Condition={"DateGreaterThan": {"aws:CurrentTime": "2015-08-16T12:00:00Z"}}),
    )
    keys = iam.get_context_keys_for_custom_policy(PolicyInputList=[policy])["ContextKeyNames"]
    assert keys == ["aws:username", "aws:CurrentTime"]
    iam.put_user_policy(UserName="anna", PolicyName="p", PolicyDocument=policy)
    more = document(allow("*", Condition={"Bool": {"aws:SecureTransport": "true", "AWS:UserName": "true"}}))
    keys = iam.get_context_keys_for_principal_policy(PolicySourceArn=ANNA, PolicyInputList=[more])["ContextKeyNames"]
    assert keys == ["aws:username", "aws:CurrentTime", "aws:SecureTransport"]


def test_results_come_in_pages(house) -> None:
    iam = house.client("iam")
    actions = [f"batch:Action{number}" for number in range(7)]
    pages = list(
        iam.get_paginator("simulate_custom_policy").paginate(
            PolicyInputList=[document(allow("batch:*3"))], ActionNames=actions, PaginationConfig={"PageSize": 3}
        )
    )
    assert [len(page["EvaluationResults"]) for page in pages] == [3, 3, 1]
    assert [each["EvalActionName"] for page in pages for each in page["EvaluationResults"]] == actions
    with refused("ValidationError", status=400):
        iam.simulate_custom_policy(PolicyInputList=[document(allow("*"))], ActionNames=["a:B"], Marker="?")


def test_no_page_takes_long_however_many_resources_there_are(house) -> None:
    iam = house.client("iam")
    resources = [f"arn:aws:s3:::bucket/{number}" for number in range(150)]
    asked = {"PolicyInputList": [document(allow("s3:*"))], "ActionNames": ["s3:GetObject", "s3:PutObject"]}
    pages = list(iam.get_paginator("simulate_custom_policy").paginate(**asked, ResourceArns=resources))
    assert [len(page["EvaluationResults"]) for page in pages] == [1, 1]
    assert all(len(page["EvaluationResults"][0]["ResourceSpecificResults"]) == 150 for page in pages)


FULL = document(allow("*"))
REFUSED = [
    ({"ActionNames": ["s3:*"]}, "ActionNames are not in a valid format: s3:*."),
    ({"ActionNames": ["s3:Get?bject"]}, "ActionNames are not in a valid format: s3:Get?bject."),
    ({"ActionNames": ["GetObject"]}, "ActionNames are not in a valid format: GetObject."),
    ({"ResourceArns": ["14a050d4-021e"]}, "ResourceNames are not in a valid ARN format: 14a050d4-021e."),
    ({"ResourceArns": ["*", "arn:aws:s3:::b"]}, "ResourceNames are not in a valid ARN format: *."),
    ({"PolicyInputList": ["{"]}, "Syntax errors in policy."),
    (
        {"PolicyInputList": [document({"Effect": "Allow", "Action": "s3:*"})]},
        "Policy statement must contain resources.",
    ),
    ({"PermissionsBoundaryPolicyInputList": [FULL, FULL]}, None),
    ({"ResourcePolicy": FULL, "CallerArn": ANNA}, "Missing required field Principal"),
    ({"CallerArn": "anna"}, "Invalid Entity Arn: anna does not clearly define entity type and name."),
    ({"CallerArn": f"arn:aws:iam::{ACCOUNT}:policy/p"}, None),
    ({"ResourceOwner": "nobody"}, None),
    ({"ResourceHandlingOption": "EC2-Moon"}, None),
    ({"ResourceHandlingOption": "EC2-VPC-EBS", "ResourceArns": [f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/*"]}, None),
    ({"ContextEntries": [{"ContextKeyName": "without", "ContextKeyValues": ["a"], "ContextKeyType": "string"}]}, None),
]


@pytest.fixture(scope="module")
def shared():
    from in_process import InProcessHouse

    house = InProcessHouse()
    yield house.client("iam")
    house.close()


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_the_simulator_refuses(shared, given, message) -> None:
    with refused("InvalidInput", message, status=400):
        shared.simulate_custom_policy(**{"PolicyInputList": [FULL], "ActionNames": ["s3:GetObject"], **given})


def test_scenarios_of_ec2_name_the_resources_that_they_need(shared) -> None:
    kinds = ("instance", "image", "security-group", "network-interface", "volume")
    answer = shared.simulate_custom_policy(
        PolicyInputList=[FULL],
        ActionNames=["ec2:RunInstances"],
        ResourceArns=[f"arn:aws:ec2:us-east-1:{ACCOUNT}:{kind}/*" for kind in kinds],
        ResourceHandlingOption="EC2-VPC-EBS",
    )
    assert decisions(answer) == ["allowed"]


def test_form_is_checked_from_the_model(shared) -> None:
    iam = unchecked(shared)
    for wrong in ({"MaxItems": 0}, {"ActionNames": ["a"]}, {"PolicyInputList": ["\u20ac"]}):
        with refused("ValidationError", status=400):
            iam.simulate_custom_policy(**{"PolicyInputList": [FULL], "ActionNames": ["s3:GetObject"], **wrong})


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        (f"arn:aws:iam::{ACCOUNT}:user/nobody", "NoSuchEntity"),
        (f"arn:aws:iam::{ACCOUNT}:role/nobody", "NoSuchEntity"),
        (f"arn:aws:iam::{ACCOUNT}:group/nobody", "NoSuchEntity"),
        (f"arn:aws:iam::{ACCOUNT}:policy/nobody", "InvalidInput"),
        (f"arn:aws:iam::{ACCOUNT}:root", "InvalidInput"),
        ("arn:aws:s3:::bucket-of-mine", "InvalidInput"),
    ],
)
def test_whose_policies_are_not_there(shared, arn, code) -> None:
    for ask in (
        lambda: shared.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:GetObject"]),
        lambda: shared.get_context_keys_for_principal_policy(PolicySourceArn=arn),
    ):
        with refused(code):
            ask()


def test_who_may_simulate(house) -> None:
    anna, bert = Person(house, "anna"), Person(house, "bert")
    iam = anna.client("iam")
    with refused("AccessDenied", status=403):
        iam.simulate_custom_policy(PolicyInputList=[FULL], ActionNames=["s3:GetObject"])
    with refused("AccessDenied", status=403):
        iam.simulate_principal_policy(PolicySourceArn=anna.arn, ActionNames=["s3:GetObject"])
    anna.may(allow(["iam:SimulatePrincipalPolicy", "iam:GetContextKeysForPrincipalPolicy"], anna.arn))
    assert decisions(iam.simulate_principal_policy(PolicySourceArn=anna.arn, ActionNames=["s3:GetObject"])) == [
        "implicitDeny"
    ]
    with refused("AccessDenied", status=403):
        iam.simulate_principal_policy(PolicySourceArn=bert.arn, ActionNames=["s3:GetObject"])


def test_the_account_s_service_control_policies_count(house) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    iam.put_user_policy(UserName="anna", PolicyName="p", PolicyDocument=document(allow("batch:*")))
    iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    linked = iam.get_role(RoleName="AWSServiceRoleForBatch")["Role"]["Arn"]
    limit(house, ACCOUNT, [document(allow("*"))], [document(allow("*"), deny("batch:TagResource"))])
    asked = {"ActionNames": ["batch:SubmitJob", "batch:TagResource"]}
    answer = iam.simulate_principal_policy(PolicySourceArn=ANNA, **asked)
    assert decisions(answer) == ["allowed", "explicitDeny"]
    details = [each["OrganizationsDecisionDetail"]["AllowedByOrganizations"] for each in answer["EvaluationResults"]]
    assert details == [True, False]
    assert answer["EvaluationResults"][1]["MatchedStatements"] == []
    without = iam.simulate_principal_policy(PolicySourceArn=ANNA, PolicyExclusionList=[{"PolicyType": "scp"}], **asked)
    assert decisions(without) == ["allowed", "allowed"]
    # They limit no service-linked role.
    linked_answer = iam.simulate_principal_policy(PolicySourceArn=linked, ActionNames=["batch:TagResource"])
    assert "OrganizationsDecisionDetail" not in linked_answer["EvaluationResults"][0]


def test_a_simulation_says_what_a_real_call_gets(house) -> None:
    """One who simulates and one who calls: the same policies, the same answer."""
    anna, iam = Person(house, "anna"), house.client("iam")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=EC2_TRUST)
    boundary = iam.create_policy(PolicyName="b", PolicyDocument=document(allow("iam:Get*"), deny("iam:GetUser")))
    iam.put_user_permissions_boundary(UserName="anna", PermissionsBoundary=boundary["Policy"]["Arn"])
    anna.may(allow(["iam:GetRole", "iam:GetUser", "iam:ListRoles"]))
    role = f"arn:aws:iam::{ACCOUNT}:role/ops"
    acting = anna.client("iam")
    calls = {
        ("iam:GetRole", role): lambda: acting.get_role(RoleName="ops"),
        ("iam:GetUser", anna.arn): lambda: acting.get_user(UserName="anna"),
        ("iam:ListRoles", f"arn:aws:iam::{ACCOUNT}:role/"): acting.list_roles,
        ("iam:GetPolicy", boundary["Policy"]["Arn"]): lambda: acting.get_policy(PolicyArn=boundary["Policy"]["Arn"]),
    }
    for (action, resource), call in calls.items():
        (decision,) = decisions(
            iam.simulate_principal_policy(PolicySourceArn=anna.arn, ActionNames=[action], ResourceArns=[resource])
        )
        if decision == "allowed":
            call()
        else:
            with refused("AccessDenied") as caught:
                call()
            said = caught.value.response["Error"]["Message"]
            assert ("with an explicit deny" in said) is (decision == "explicitDeny")
