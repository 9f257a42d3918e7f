"""What real use tells: of keys, of roles, of services and actions; refused calls count too."""

from __future__ import annotations

import pytest

from people import Person, allow, document, trust
from refusals import refused

ACCOUNT = "123456789012"
ADMIN = "arn:aws:iam::aws:policy/AdministratorAccess"


def test_a_key_tells_when_where_and_for_what_it_was_last_used(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    key = anna.key["AccessKeyId"]
    fresh = iam.get_access_key_last_used(AccessKeyId=key)
    assert fresh["UserName"] == "anna" and fresh["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}
    anna.client("sts").get_caller_identity()
    house.pass_time(60)
    with refused("AccessDeniedException"):
        house.client("ecs", key, anna.key["SecretAccessKey"], region="eu-west-1").list_clusters()
    then = house.clock.now().replace(microsecond=0)
    house.pass_time(2)
    used = iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]
    assert used == {"ServiceName": "ecs", "Region": "eu-west-1", "LastUsedDate": then}
    with refused("NoSuchEntity", "The Access Key with id AKIAGONEGONEGONEGONE cannot be found.", status=404):
        iam.get_access_key_last_used(AccessKeyId="AKIAGONEGONEGONEGONE")
    iam.delete_access_key(UserName="anna", AccessKeyId=key)
    with refused("NoSuchEntity"):
        iam.get_access_key_last_used(AccessKeyId=key)


def test_to_ask_of_a_key_is_to_ask_of_its_user(house, person) -> None:
    anna, bert = person("anna"), person("bert")
    anna.may(allow("iam:GetAccessKeyLastUsed", f"arn:aws:iam::{ACCOUNT}:user/anna"))
    hers = anna.client("iam")
    hers.get_access_key_last_used(AccessKeyId=anna.key["AccessKeyId"])
    for key in (bert.key["AccessKeyId"], "AKIAGONEGONEGONEGONE"):
        with refused("AccessDenied", status=403):
            hers.get_access_key_last_used(AccessKeyId=key)


@pytest.fixture
def session(house):
    """A session of the role `ops`."""
    iam = house.client("iam")
    anna = Person(house, "anna")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": anna.arn}))
    iam.attach_role_policy(RoleName="ops", PolicyArn=ADMIN)
    given = anna.client("sts").assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/ops", RoleSessionName="se")
    keys = given["Credentials"]

    def client(service: str, **more):
        return house.client(service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], **more)

    return client


def test_a_role_tells_when_it_was_last_used(house, session) -> None:
    iam = house.client("iam")
    assert iam.get_role(RoleName="ops")["Role"]["RoleLastUsed"] == {}
    house.pass_time(30)
    session("ecs", region="eu-west-1").list_clusters()
    then = house.clock.now().replace(microsecond=0)
    house.pass_time(2)
    used = {"LastUsedDate": then, "Region": "eu-west-1"}
    assert iam.get_role(RoleName="ops")["Role"]["RoleLastUsed"] == used
    (role,) = iam.get_account_authorization_details(Filter=["Role"])["RoleDetailList"]
    assert role["RoleLastUsed"] == used
    iam.detach_role_policy(RoleName="ops", PolicyArn=ADMIN)
    iam.delete_role(RoleName="ops")
    iam.create_role(RoleName="ops", AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/anna"}))
    assert iam.get_role(RoleName="ops")["Role"]["RoleLastUsed"] == {}


def report(house, arn: str, **more) -> dict:
    iam = house.client("iam")
    job = iam.generate_service_last_accessed_details(Arn=arn, **more)["JobId"]
    whole: dict = {}
    marker = {}
    while True:
        page = iam.get_service_last_accessed_details(JobId=job, **marker)
        whole = {
            **page,
            "ServicesLastAccessed": [*whole.get("ServicesLastAccessed", ()), *page["ServicesLastAccessed"]],
        }
        if not page["IsTruncated"]:
            break
        marker = {"Marker": page["Marker"]}
    return {**whole, "JobId": job, "by": {each["ServiceNamespace"]: each for each in whole["ServicesLastAccessed"]}}


def test_a_report_names_the_services_that_a_user_could_reach_and_did(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    anna.may(allow(["ecs:List*", "s3:GetObject"]), {"Effect": "Deny", "Action": "sqs:*", "Resource": "*"})
    iam.create_group(GroupName="ops")
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("batch:Describe*")))
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    anna.client("ecs").list_clusters()
    then = house.clock.now().replace(microsecond=0)
    house.pass_time(2)
    found = report(house, anna.arn)
    assert found["JobStatus"] == "COMPLETED" and found["JobType"] == "SERVICE_LEVEL"
    assert set(found["by"]) == {"ecs", "s3", "batch"}
    assert found["by"]["ecs"] == {
        "ServiceName": "Amazon Elastic Container Service", "ServiceNamespace": "ecs", "LastAuthenticated": then,
        "LastAuthenticatedEntity": anna.arn, "LastAuthenticatedRegion": "us-east-1", "TotalAuthenticatedEntities": 1,
    }  # fmt: skip
    assert found["by"]["s3"]["TotalAuthenticatedEntities"] == 0 and "LastAuthenticated" not in found["by"]["s3"]
    assert [each["ServiceNamespace"] for each in found["ServicesLastAccessed"]] == ["batch", "ecs", "s3"]
    by_action = report(house, anna.arn, Granularity="ACTION_LEVEL")
    assert by_action["by"]["ecs"]["TrackedActionsLastAccessed"] == [
        {
            "ActionName": "ListClusters", "LastAccessedEntity": anna.arn, "LastAccessedTime": then,
            "LastAccessedRegion": "us-east-1",
        }
    ]  # fmt: skip


def test_a_report_about_a_policy_tells_who_used_it(house, session) -> None:
    session("ecs").list_clusters()
    house.pass_time(2)
    found = report(house, ADMIN)
    assert len(found["by"]) > 400 and found["by"]["ecs"]["TotalAuthenticatedEntities"] == 1
    iam = house.client("iam")
    entities = iam.get_service_last_accessed_details_with_entities(JobId=found["JobId"], ServiceNamespace="ecs")
    (entity,) = entities["EntityDetailsList"]
    assert entity["EntityInfo"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/ops" and entity["EntityInfo"]["Type"] == "ROLE"
    assert entity["LastAuthenticated"] == found["by"]["ecs"]["LastAuthenticated"]
    with refused("NoSuchEntity", status=404):
        iam.get_service_last_accessed_details_with_entities(JobId=found["JobId"], ServiceNamespace="no-such")


def test_a_report_about_a_group_is_about_its_users(house, person) -> None:
    iam = house.client("iam")
    iam.create_group(GroupName="ops")
    iam.attach_group_policy(GroupName="ops", PolicyArn="arn:aws:iam::aws:policy/CloudWatchLogsReadOnlyAccess")
    for name in ("anna", "bert", "carl"):
        one = person(name)
        if name != "carl":
            iam.add_user_to_group(GroupName="ops", UserName=name)
            one.client("logs").describe_log_groups()
    house.pass_time(2)
    found = report(house, f"arn:aws:iam::{ACCOUNT}:group/ops")
    assert found["by"]["logs"]["TotalAuthenticatedEntities"] == 2


def test_reports_of_nothing_are_refused(house) -> None:
    iam = house.client("iam")
    with refused("NoSuchEntity", status=404):
        iam.generate_service_last_accessed_details(Arn=f"arn:aws:iam::{ACCOUNT}:user/gone")
    with refused("InvalidInput", status=400):
        iam.generate_service_last_accessed_details(Arn="arn:aws:s3:::bucket/of/things")
    with refused("NoSuchEntity", status=404):
        iam.get_service_last_accessed_details(JobId="0f7c1d5e-0000-4000-8000-000000000000")


def test_it_is_told_which_policies_grant_a_service(house, person) -> None:
    iam = house.client("iam")
    anna = person("anna")
    anna.may(allow("s3:*"))
    iam.create_group(GroupName="ops")
    iam.put_group_policy(GroupName="ops", PolicyName="look", PolicyDocument=document(allow("ec2:Describe*")))
    iam.attach_group_policy(GroupName="ops", PolicyArn=ADMIN)
    iam.add_user_to_group(GroupName="ops", UserName="anna")
    granting = iam.list_policies_granting_service_access(Arn=anna.arn, ServiceNamespaces=["s3", "ec2"])
    first, second = granting["PoliciesGrantingServiceAccess"]
    admin = {"PolicyName": "AdministratorAccess", "PolicyType": "MANAGED", "PolicyArn": ADMIN}
    assert first["ServiceNamespace"] == "s3" and second["ServiceNamespace"] == "ec2"
    assert first["Policies"] == [
        {"PolicyName": "given", "PolicyType": "INLINE", "EntityType": "USER", "EntityName": "anna"}, admin,
    ]  # fmt: skip
    assert second["Policies"] == [
        {"PolicyName": "look", "PolicyType": "INLINE", "EntityType": "GROUP", "EntityName": "ops"}, admin,
    ]  # fmt: skip
    with refused("InvalidInput", status=400):
        iam.list_policies_granting_service_access(Arn=ADMIN, ServiceNamespaces=["s3"])
