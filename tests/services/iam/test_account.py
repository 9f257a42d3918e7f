"""The account as a whole: alias, numbers, credential report; and what users never have here."""

from __future__ import annotations

import csv
import io

import pytest

from in_process import InProcessHouse
from people import EC2_TRUST, allow, document
from refusals import refused, unchecked


def test_an_account_has_one_alias(house) -> None:
    iam = house.client("iam")
    assert iam.list_account_aliases()["AccountAliases"] == []
    iam.create_account_alias(AccountAlias="longshore-lab")
    assert iam.list_account_aliases()["AccountAliases"] == ["longshore-lab"]
    iam.create_account_alias(AccountAlias="longshore")
    assert iam.list_account_aliases()["AccountAliases"] == ["longshore"]
    with refused("NoSuchEntity", "The account alias with name longshore-lab cannot be found.", status=404):
        iam.delete_account_alias(AccountAlias="longshore-lab")
    iam.delete_account_alias(AccountAlias="longshore")
    assert iam.list_account_aliases()["AccountAliases"] == []
    with refused("ValidationError", status=400):
        unchecked(iam).create_account_alias(AccountAlias="Not--An-Alias")


def test_the_summary_counts_what_there_is(house) -> None:
    iam = house.client("iam")
    before = iam.get_account_summary()["SummaryMap"]
    assert before["Users"] == before["Groups"] == before["Policies"] == 0
    iam.create_user(UserName="anna")
    iam.create_group(GroupName="ops")
    iam.create_role(RoleName="job", AssumeRolePolicyDocument=EC2_TRUST)
    iam.create_instance_profile(InstanceProfileName="job")
    arn = iam.create_policy(PolicyName="p", PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:Get*")))
    after = iam.get_account_summary()["SummaryMap"]
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert changed == {"Users": 1, "Groups": 1, "Roles": 1, "InstanceProfiles": 1, "Policies": 1}
    assert (after["GroupsQuota"], after["AttachedPoliciesPerRoleQuota"], after["PolicySizeQuota"]) == (300, 20, 6144)


def test_policies_in_use_are_those_that_somebody_has(house) -> None:
    iam = house.client("iam")
    summary = iam.get_account_summary()["SummaryMap"]
    before = summary["PolicyVersionsInUse"]
    assert summary["PolicyVersionsInUseQuota"] == 10_000
    iam.create_user(UserName="anna")
    iam.create_role(RoleName="job", AssumeRolePolicyDocument=EC2_TRUST)
    own = iam.create_policy(PolicyName="p", PolicyDocument=document(allow("s3:*")))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=own, PolicyDocument=document(allow("s3:Get*")))
    for arn, in_use in ((own, 1), ("arn:aws:iam::aws:policy/ReadOnlyAccess", 2)):
        iam.attach_user_policy(UserName="anna", PolicyArn=arn)
        iam.attach_role_policy(RoleName="job", PolicyArn=arn)
        assert iam.get_account_summary()["SummaryMap"]["PolicyVersionsInUse"] == before + in_use
    iam.detach_user_policy(UserName="anna", PolicyArn=own)
    iam.put_user_permissions_boundary(UserName="anna", PermissionsBoundary=own)
    iam.detach_role_policy(RoleName="job", PolicyArn=own)
    assert iam.get_account_summary()["SummaryMap"]["PolicyVersionsInUse"] == before + 1


def test_no_more_policies_are_in_use_than_may_be() -> None:
    house = InProcessHouse(iam_quotas={"PolicyVersionsInUse": 1})
    iam = house.client("iam")
    assert iam.get_account_summary()["SummaryMap"]["PolicyVersionsInUseQuota"] == 1
    iam.create_group(GroupName="ops")
    iam.create_user(UserName="anna")
    iam.attach_group_policy(GroupName="ops", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.attach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    with refused("LimitExceeded", "Cannot exceed quota for PolicyVersionsInUse: 1", status=409):
        iam.attach_user_policy(UserName="anna", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    house.close()


def test_the_credential_report_tells_of_every_user_and_key(house, person) -> None:
    iam = house.client("iam")
    with refused("ReportNotPresent", status=410):
        iam.get_credential_report()
    anna = person("anna")
    iam.create_user(UserName="bert")
    iam.create_login_profile(UserName="bert", Password="Blue-Kettle-7")
    iam.update_account_password_policy(MaxPasswordAge=10)
    anna.client("sts").get_caller_identity()
    house.pass_time(2)
    assert iam.generate_credential_report()["State"] == "STARTED"
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    report = iam.get_credential_report()
    assert report["ReportFormat"] == "text/csv"
    root, first, second = csv.DictReader(io.StringIO(report["Content"].decode()))
    assert root["user"] == "<root_account>" and root["arn"] == "arn:aws:iam::123456789012:root"
    assert (first["user"], first["access_key_1_active"], first["access_key_2_active"]) == ("anna", "true", "false")
    assert (first["access_key_1_last_used_service"], first["access_key_1_last_used_region"]) == ("sts", "us-east-1")
    assert first["password_enabled"] == "false" and first["password_last_changed"] == "N/A"
    assert second["password_enabled"] == "true" and second["password_next_rotation"].startswith("2026-01-11T")
    house.pass_time(5 * 3600)
    with refused("ReportExpired", status=410):
        iam.get_credential_report()
    assert iam.generate_credential_report()["State"] == "STARTED"


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ("list_mfa_devices", "MFADevices"),
        ("list_ssh_public_keys", "SSHPublicKeys"),
        ("list_signing_certificates", "Certificates"),
        ("list_service_specific_credentials", "ServiceSpecificCredentials"),
    ],
)
def test_what_nobody_has_here_is_listed_as_nothing(house, operation, member) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    assert getattr(iam, operation)(UserName="anna")[member] == []
    with refused("NoSuchEntity", "The user with name gone cannot be found.", status=404):
        getattr(iam, operation)(UserName="gone")
    assert iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []


def test_what_is_not_offered_says_so(house) -> None:
    iam = house.client("iam")
    iam.create_user(UserName="anna")
    for call in (
        lambda: iam.create_virtual_mfa_device(VirtualMFADeviceName="phone"),
        lambda: iam.upload_ssh_public_key(UserName="anna", SSHPublicKeyBody="ssh-rsa AAAA"),
        lambda: iam.create_service_specific_credential(UserName="anna", ServiceName="codecommit.amazonaws.com"),
    ):
        with refused("InvalidAction", status=400):
            call()
