"""IAM by the real `aws` command: groups, names that change, the account's papers, last use; kept over a crash."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from system.running import Server
from system.warm_aws import Aws

ACCOUNT = "123456789012"
READ = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}]}
)
QUOTAS = ("--iam-quota", "PoliciesPerGroup=1")


def test_what_is_made_by_the_command_is_kept_over_a_crash_and_told_of_whole(tmp_path: Path) -> None:
    server = Server(tmp_path / "state", *QUOTAS)
    aws = Aws(server)
    try:
        key = made(server, aws)
    finally:
        aws.close()
        server.kill()
    server = Server(tmp_path / "state", *QUOTAS)
    aws = Aws(server)
    try:
        kept(server, key)
        told(aws)
        taken_apart(server, aws)
    finally:
        aws.close()
        assert server.end() == 0


def made(server: Server, aws: Aws) -> tuple[str, str]:
    """A user with a key, in a group; both have moved since."""
    aws("iam create-group --group-name ops")
    aws("iam put-group-policy --group-name ops --policy-name look --policy-document", READ)
    aws("iam create-user --user-name anna")
    created = aws("iam create-access-key --user-name anna")["AccessKey"]
    key = created["AccessKeyId"], created["SecretAccessKey"]
    assert "(AccessDenied)" in aws.refused("iam list-roles", key=key[0], secret=key[1])
    aws("iam add-user-to-group --group-name ops --user-name anna")
    server.client("iam", *key).list_roles()
    aws("iam attach-group-policy --group-name ops --policy-arn", "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess")
    said = aws.refused(
        "iam attach-group-policy --group-name ops --policy-arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"
    )
    assert "(LimitExceeded)" in said and "Cannot exceed quota for PoliciesPerGroup: 1" in said
    aws("iam update-user --user-name anna --new-user-name anne --new-path /team/")
    aws("iam update-group --group-name ops --new-group-name operators")
    aws("iam create-account-alias --account-alias longshore-lab")
    aws("iam create-login-profile --user-name anne --password Blue-Kettle-7 --password-reset-required")
    return key


def kept(server: Server, key: tuple[str, str]) -> None:
    server.client("iam", *key).list_roles()
    root = server.client("iam")
    assert [each["GroupName"] for each in root.list_groups_for_user(UserName="anne")["Groups"]] == ["operators"]
    assert root.get_login_profile(UserName="anne")["LoginProfile"]["PasswordResetRequired"] is True
    assert root.list_account_aliases()["AccountAliases"] == ["longshore-lab"]
    used = root.get_access_key_last_used(AccessKeyId=key[0])
    assert used["UserName"] == "anne" and used["AccessKeyLastUsed"]["ServiceName"] == "iam"


def told(aws: Aws) -> None:
    """What the whole account's reports say."""
    details = aws("iam get-account-authorization-details")
    (anne,) = details["UserDetailList"]
    assert anne["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/team/anne" and anne["GroupList"] == ["operators"]
    assert [each["PolicyName"] for each in details["Policies"]] == ["AmazonSQSReadOnlyAccess"]
    small = aws("iam get-account-authorization-details --page-size 1")
    for each in ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"):
        assert small[each] == details[each]
    assert aws("iam get-account-summary")["SummaryMap"]["AttachedPoliciesPerGroupQuota"] == 1
    aws("iam generate-credential-report")
    report = base64.b64decode(aws("iam get-credential-report")["Content"]).decode()
    assert report.splitlines()[2].startswith(f"anne,arn:aws:iam::{ACCOUNT}:user/team/anne,")
    job = aws("iam generate-service-last-accessed-details --arn", f"arn:aws:iam::{ACCOUNT}:user/team/anne")["JobId"]
    services = aws("iam get-service-last-accessed-details --job-id", job)["ServicesLastAccessed"]
    assert [each["ServiceNamespace"] for each in services] == ["iam", "sqs"]
    assert services[0]["TotalAuthenticatedEntities"] == 1 and services[1]["TotalAuthenticatedEntities"] == 0
    assert int(aws("iam list-policies --scope AWS --query length(Policies)")) > 1500


def taken_apart(server: Server, aws: Aws) -> None:
    """As scripts do it that delete a user whatever hangs on it."""
    for member, command in {
        "MFADevices": "list-mfa-devices",
        "SSHPublicKeys": "list-ssh-public-keys",
        "Certificates": "list-signing-certificates",
        "ServiceSpecificCredentials": "list-service-specific-credentials",
    }.items():
        assert aws(f"iam {command} --user-name anne")[member] == []
    iam = server.client("iam")
    for key in iam.list_access_keys(UserName="anne")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="anne", AccessKeyId=key["AccessKeyId"])
    assert "must delete login profile first" in aws.refused("iam delete-user --user-name anne")
    iam.delete_login_profile(UserName="anne")
    assert "must remove users from group first" in aws.refused("iam delete-user --user-name anne")
    iam.remove_user_from_group(UserName="anne", GroupName="operators")
    aws("iam delete-user --user-name anne")
    assert "(NoSuchEntity)" in aws.refused("iam get-login-profile --user-name anne")
