"""What each operation on groups, logins and the account asks: the refusal names it, and one statement of it is enough."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from in_process import ACCOUNT, InProcessHouse
from people import Person, allow, document
from refusals import refused

BASE = f"arn:aws:iam::{ACCOUNT}"
TEXT = document(allow("s3:*"))
GROUP = f"{BASE}:group/team/ops"
USER = f"{BASE}:user/team/bert"
OPS = {"GroupName": "OPS"}
BERT = {"UserName": "Bert"}
READ = "arn:aws:iam::aws:policy/ReadOnlyAccess"

# operation -> (request, the resource that it is asked on). Service authorization reference, AWS Identity and Access Management.
QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "CreateGroup": ({"GroupName": "new", "Path": "/x/"}, f"{BASE}:group/x/new"),
    "GetGroup": (OPS, GROUP),
    "ListGroups": ({"PathPrefix": "/team/"}, f"{BASE}:group/team/"),
    "ListGroupsForUser": (BERT, USER),
    "UpdateGroup": ({**OPS, "NewPath": "/team/"}, GROUP),
    "DeleteGroup": ({"GroupName": "spare"}, f"{BASE}:group/spare"),
    "AddUserToGroup": ({**OPS, **BERT}, GROUP),
    "RemoveUserFromGroup": ({**OPS, **BERT}, GROUP),
    "PutGroupPolicy": ({**OPS, "PolicyName": "p", "PolicyDocument": TEXT}, GROUP),
    "GetGroupPolicy": ({**OPS, "PolicyName": "p"}, GROUP),
    "ListGroupPolicies": (OPS, GROUP),
    "DeleteGroupPolicy": ({**OPS, "PolicyName": "p"}, GROUP),
    "AttachGroupPolicy": ({**OPS, "PolicyArn": READ}, GROUP),
    "DetachGroupPolicy": ({**OPS, "PolicyArn": READ}, GROUP),
    "ListAttachedGroupPolicies": (OPS, GROUP),
    "UpdateUser": ({**BERT, "NewPath": "/team/"}, USER),
    "UpdateRoleDescription": ({"RoleName": "gone", "Description": "d"}, f"{BASE}:role/gone"),
    "CreateLoginProfile": ({**BERT, "Password": "Blue-Kettle-7"}, USER),
    "GetLoginProfile": (BERT, USER),
    "UpdateLoginProfile": ({**BERT, "PasswordResetRequired": True}, USER),
    "DeleteLoginProfile": (BERT, USER),
    "ChangePassword": ({"OldPassword": "Blue-Kettle-7", "NewPassword": "Green-Kettle-8"}, f"{BASE}:user/anna"),
    "GetAccountPasswordPolicy": ({}, "*"),
    "UpdateAccountPasswordPolicy": ({}, "*"),
    "DeleteAccountPasswordPolicy": ({}, "*"),
    "CreateAccountAlias": ({"AccountAlias": "longshore"}, "*"),
    "ListAccountAliases": ({}, "*"),
    "DeleteAccountAlias": ({"AccountAlias": "longshore"}, "*"),
    "GetAccountSummary": ({}, "*"),
    "GetAccountAuthorizationDetails": ({}, "*"),
    "GenerateCredentialReport": ({}, "*"),
    "GetCredentialReport": ({}, "*"),
    "GetAccessKeyLastUsed": ({"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}, f"{BASE}:user/*"),
    "GenerateServiceLastAccessedDetails": ({"Arn": USER}, USER),
    "GetServiceLastAccessedDetails": ({"JobId": "0" * 36}, "*"),
    "GetServiceLastAccessedDetailsWithEntities": ({"JobId": "0" * 36, "ServiceNamespace": "s3"}, "*"),
    "ListPoliciesGrantingServiceAccess": ({"Arn": USER, "ServiceNamespaces": ["s3"]}, USER),
    "ListMFADevices": (BERT, USER),
    "ListVirtualMFADevices": ({}, "*"),
    "ListSigningCertificates": (BERT, USER),
    "ListSSHPublicKeys": (BERT, USER),
    "ListServiceSpecificCredentials": (BERT, USER),
    "ListAccessKeys": (BERT, USER),
}


@pytest.fixture(scope="module")
def full() -> Iterator[tuple[InProcessHouse, Person]]:
    house = InProcessHouse()
    iam = house.client("iam")
    iam.create_group(GroupName="ops", Path="/team/")
    iam.create_group(GroupName="spare")
    iam.create_user(UserName="bert", Path="/team/")
    yield house, Person(house, "anna")
    house.close()


@pytest.mark.parametrize("operation", QUESTIONS)
def test_it_is_refused_by_its_name_and_given_by_one_statement(
    full: tuple[InProcessHouse, Person], operation: str
) -> None:
    _, anna = full
    anna.may(allow("sqs:*"))
    request, resource = QUESTIONS[operation]
    ask = getattr(anna.client("iam"), _python_name(operation))
    text = (
        f"User: {anna.arn} is not authorized to perform: iam:{operation} on resource: {resource} "
        f"because no identity-based policy allows the iam:{operation} action"
    )
    with refused("AccessDenied", text, status=403):
        ask(**request)
    anna.may(allow(f"iam:{operation}", resource))
    try:
        ask(**request)
    except ClientError as error:  # Whatever else is wrong with it, it is no longer a matter of rights.
        assert "is not authorized to perform" not in str(error)


def _python_name(operation: str) -> str:
    from botocore import xform_name

    return re.sub(r"__+", "_", xform_name(operation))


def test_who_may_attach_may_be_bound_to_a_policy(full: tuple[InProcessHouse, Person]) -> None:
    house, anna = full
    anna.may(allow("iam:AttachGroupPolicy", GROUP, Condition={"ArnEquals": {"iam:PolicyARN": READ}}))
    anna.client("iam").attach_group_policy(GroupName="ops", PolicyArn=READ)
    with refused("AccessDenied", status=403):
        anna.client("iam").attach_group_policy(GroupName="ops", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    house.client("iam").detach_group_policy(GroupName="ops", PolicyArn=READ)
