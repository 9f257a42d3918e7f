"""Who somebody is, sessions of users, and sessions that have ended."""

from __future__ import annotations

import base64

from in_process import ACCOUNT
from people import allow, document, trust
from refusals import refused, unchecked

BASE = f"arn:aws:iam::{ACCOUNT}"


def test_everybody_may_ask_who_they_are(house, person, client_of) -> None:
    assert house.client("sts").get_caller_identity()["UserId"] == ACCOUNT
    anna = person("anna")
    who = anna.client("sts").get_caller_identity()
    assert (who["Account"], who["Arn"], who["UserId"]) == (ACCOUNT, f"{BASE}:user/anna", anna.user["UserId"])
    anna.may({"Effect": "Deny", "Action": "*", "Resource": "*"})
    assert anna.client("sts").get_caller_identity()["Arn"] == anna.arn


def test_a_session_of_a_user_is_the_user_but_for_iam_and_sts(house, person, client_of) -> None:
    anna = person("anna")
    anna.may(allow("*"))
    answer = anna.client("sts").get_session_token()
    given = answer["Credentials"]
    assert abs((given["Expiration"] - house.clock.now()).total_seconds() - 43200) <= 1
    assert client_of(answer, "sts").get_caller_identity()["Arn"] == anna.arn
    client_of(answer, "batch").describe_job_queues()
    with refused("InvalidClientTokenId", status=403):
        client_of(answer, "iam").list_roles()
    for call in ("GetSessionToken", "GetFederationToken"):
        sts = client_of(answer, "sts")
        with refused("AccessDenied", f"Cannot call {call} with session credentials", status=403):
            sts.get_session_token() if call == "GetSessionToken" else sts.get_federation_token(Name="guest")
    role = house.client("iam").create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": anna.arn}))["Role"]
    taken = client_of(answer, "sts").assume_role(RoleArn=role["Arn"], RoleSessionName="se")
    with refused("AccessDenied", status=403):
        client_of(taken, "sts").get_session_token()


def test_a_session_token_needs_no_permission(house, person) -> None:
    assert person("anna").client("sts").get_session_token(DurationSeconds=900)["Credentials"]


def test_roots_sessions_last_an_hour(house) -> None:
    given = house.client("sts").get_session_token(DurationSeconds=129600)["Credentials"]
    assert abs((given["Expiration"] - house.clock.now()).total_seconds() - 3600) <= 1


def test_a_federated_user_may_what_user_and_policy_allow_together(house, person, client_of) -> None:
    anna = person("anna")
    sts = anna.client("sts")
    target = f"arn:aws:sts::{ACCOUNT}:federated-user/guest"
    with refused(
        "AccessDenied",
        f"User: {anna.arn} is not authorized to perform: sts:GetFederationToken on resource: {target} "
        "because no identity-based policy allows the sts:GetFederationToken action",
        status=403,
    ):
        sts.get_federation_token(Name="guest")
    anna.may(allow(["sts:GetFederationToken", "batch:DescribeJobQueues", "batch:DescribeJobDefinitions"]))
    bare = sts.get_federation_token(Name="guest")
    assert bare["FederatedUser"] == {"FederatedUserId": f"{ACCOUNT}:guest", "Arn": target}
    assert bare["PackedPolicySize"] == 0
    assert client_of(bare, "sts").get_caller_identity()["Arn"] == target
    with refused("AccessDeniedException"):  # Without a policy: nothing.
        client_of(bare, "batch").describe_job_queues()
    policy = document(allow(["batch:DescribeJobQueues", "batch:DescribeComputeEnvironments"]))
    answer = sts.get_federation_token(Name="guest", Policy=policy)
    assert answer["PackedPolicySize"] > 0
    batch = client_of(answer, "batch")
    batch.describe_job_queues()
    for call in (batch.describe_job_definitions, batch.describe_compute_environments):
        with refused("AccessDeniedException"):
            call()
    with refused("InvalidClientTokenId", status=403):
        client_of(answer, "iam").list_roles()
    role = house.client("iam").create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": "*"}))["Role"]
    with refused("AccessDenied", status=403):
        client_of(answer, "sts").assume_role(RoleArn=role["Arn"], RoleSessionName="se")
    with refused("AccessDenied", status=403):
        client_of(answer, "sts").get_federation_token(Name="guest")
    anna.may(allow("sts:GetFederationToken"))
    with refused("AccessDeniedException"):  # The user's loss is the guest's.
        batch.describe_job_queues()


def test_a_guest_of_one_who_is_gone_is_no_guest_of_the_next_of_that_name(house, person, client_of) -> None:
    anna = person("anna")
    anna.may(allow("*"))
    answer = anna.client("sts").get_federation_token(Name="guest", Policy=document(allow("*")))
    batch = client_of(answer, "batch")
    batch.describe_job_queues()
    iam = house.client("iam")
    iam.delete_user_policy(UserName="anna", PolicyName="given")
    iam.delete_access_key(UserName="anna", AccessKeyId=anna.key["AccessKeyId"])
    iam.delete_user(UserName="anna")
    house.pass_time(1)
    person("anna").may(allow("*"))
    with refused("AccessDeniedException"):
        batch.describe_job_queues()


def test_a_guest_of_a_user_that_moves_stays_the_user_s_guest(house, person, client_of) -> None:
    anna = person("anna")
    anna.may(allow(["sts:GetFederationToken", "batch:DescribeJobQueues"]))
    answer = anna.client("sts").get_federation_token(Name="guest", Policy=document(allow("*")))
    batch = client_of(answer, "batch")
    iam = house.client("iam")
    iam.update_user(UserName="anna", NewUserName="bea", NewPath="/team/")
    batch.describe_job_queues()
    person("anna").may(allow("*"))  # Another one, under the name that the guest's user had.
    batch.describe_job_queues()
    with refused("AccessDeniedException"):
        batch.describe_job_definitions()
    iam.delete_user_policy(UserName="bea", PolicyName="given")
    with refused("AccessDeniedException"):
        batch.describe_job_queues()


def test_names_of_guests_have_2_to_32_letters(house) -> None:
    sts = unchecked(house.client("sts"))
    with refused("ValidationError", status=400):
        sts.get_federation_token(Name="g" * 33)
    with refused("ValidationError", status=400):
        sts.get_federation_token(Name="g")


def test_ended_sessions_are_refused_in_the_form_of_each_protocol(house, person, client_of) -> None:
    anna = person("anna")
    anna.may(allow("*"))
    answer = anna.client("sts").get_session_token(DurationSeconds=900)
    clients = {name: client_of(answer, name) for name in ("sts", "ec2", "batch", "logs", "ecs")}
    house.pass_time(899)
    clients["sts"].get_caller_identity()
    house.pass_time(1)
    expired = "The security token included in the request is expired"
    with refused("ExpiredToken", expired, status=403):
        clients["sts"].get_caller_identity()
    with refused("RequestExpired", status=400):
        clients["ec2"].describe_instances()
    for name, call in (
        ("batch", lambda: clients["batch"].describe_job_queues()),
        ("logs", lambda: clients["logs"].describe_log_groups()),
        ("ecs", lambda: clients["ecs"].list_clusters()),
    ):
        with refused("ExpiredTokenException", expired):
            call()
        assert name


def test_a_session_key_without_its_token_or_with_another_is_unknown(house, person) -> None:
    anna = person("anna")
    one = anna.client("sts").get_session_token()["Credentials"]
    two = anna.client("sts").get_session_token()["Credentials"]
    raw = bytearray(base64.b64decode(one["SessionToken"]))
    raw[-1] ^= 1
    for token in (None, two["SessionToken"], base64.b64encode(bytes(raw)).decode(), "rubbish"):
        client = house.client("sts", one["AccessKeyId"], one["SecretAccessKey"], token)
        with refused("InvalidClientTokenId", status=403):
            client.get_caller_identity()
    with refused("SignatureDoesNotMatch", status=403):
        house.client("sts", one["AccessKeyId"], "wrong", one["SessionToken"]).get_caller_identity()
