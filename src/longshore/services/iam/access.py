"""What the operations of IAM ask.

Source: service authorization reference, AWS Identity and Access Management.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.kit.access import Access, Question, pass_role, tag_context
from longshore.kit.call import Call
from longshore.kit.operation import Request
from longshore.services.iam import entitlements, store
from longshore.services.iam.operations.service_linked_roles import SERVICES
from longshore.services.iam.records import Group, InstanceProfile, Policy, Role, User


def role_arn(call: Call, name: str) -> str:
    """With the role's path, where there is the role; a role that is not there counts as one at `/`."""
    found = store.find(call.transaction, Role, call.account, name)
    return found.arn if found is not None else call.arn(f"role/{name}", service="iam")


def _role(call: Call, request: Request) -> list[str]:
    return [role_arn(call, request["RoleName"])]


def _user(call: Call, request: Request) -> list[str]:
    name = request.get("UserName") or call.principal.user_name or ""
    found = store.find(call.transaction, User, call.account, name)
    return [found.arn if found is not None else call.arn(f"user/{name}")]


def _keys_user(call: Call, request: Request) -> list[str]:
    """Of a key that is not the account's: any user."""
    found = store.find_key(call.transaction, request["AccessKeyId"])
    owner = store.find(call.transaction, User, call.account, found[1].user_name) if found else None
    if found is None or found[0] != call.account or owner is None:
        return [call.arn("user/*")]
    return [owner.arn]


def _group(call: Call, request: Request) -> list[str]:
    found = store.find(call.transaction, Group, call.account, request["GroupName"])
    return [found.arn if found is not None else call.arn(f"group/{request['GroupName']}")]


def _moved(kind: str, where: Callable[[Call, Request], list[str]], member: str) -> Callable[[Call, Request], list[str]]:
    """IAM user guide, "Renaming an IAM user": one must be allowed on the old ARN and on the new one."""

    def resources(call: Call, request: Request) -> list[str]:
        old = where(call, request)[0]
        path, _, name = old.partition(f":{kind}/")[2].rpartition("/")
        path = request.get("NewPath") or f"/{path}/".replace("//", "/")
        return list(dict.fromkeys([old, call.arn(f"{kind}{path}{request.get(member) or name}")]))

    return resources


def _profile(call: Call, request: Request) -> list[str]:
    name = request["InstanceProfileName"]
    found = store.find(call.transaction, InstanceProfile, call.account, name)
    return [found.arn if found is not None else call.arn(f"instance-profile/{name}")]


def _policy(call: Call, request: Request) -> list[str]:
    return [request["PolicyArn"]]


def _new(kind: str, member: str) -> Callable[[Call, Request], list[str]]:
    def resources(call: Call, request: Request) -> list[str]:
        return [call.arn(f"{kind}{request.get('Path') or '/'}{request[member]}")]

    return resources


def _under(kind: str) -> Callable[[Call, Request], list[str]]:
    def resources(call: Call, request: Request) -> list[str]:
        return [call.arn(f"{kind}{request.get('PathPrefix') or '/'}")]

    return resources


# Service authorization reference: the operations on a role or a user that know iam:PermissionsBoundary.
_KNOW_THE_BOUNDARY = frozenset(
    ("GetRole", "DeleteRole", "UpdateRole", "UpdateRoleDescription", "UpdateAssumeRolePolicy")
) | frozenset(
    f"{verb}{kind}{what}"
    for kind in ("Role", "User")
    for verb, what in (
        ("Attach", "Policy"), ("Detach", "Policy"), ("Put", "Policy"), ("Delete", "Policy"),
        ("Put", "PermissionsBoundary"), ("Delete", "PermissionsBoundary"),
    )
)  # fmt: skip


def _resource_tags(found: Role | User | InstanceProfile | Policy) -> dict[str, str | list[str]]:
    """The tags of a role or a user are asked for under two names, those of others under one."""
    prefixes = ("aws", "iam") if isinstance(found, (Role, User)) else ("aws",)
    return {f"{prefix}:ResourceTag/{key}": value for key, value in found.tags.items() for prefix in prefixes}


def _target(call: Call, request: Request) -> dict[str, str | list[str]]:
    """Tags and boundary of the role, user, profile or policy that the request names."""
    found: Role | User | InstanceProfile | Policy | None = None
    if "RoleName" in request and "InstanceProfileName" not in request:
        found = store.find(call.transaction, Role, call.account, request["RoleName"])
    elif "InstanceProfileName" in request:
        found = store.find(call.transaction, InstanceProfile, call.account, request["InstanceProfileName"])
    elif "UserName" in request:
        found = store.find(call.transaction, User, call.account, request["UserName"])
    elif "PolicyArn" in request:
        found = entitlements.find_policy(call.transaction, call.account, request["PolicyArn"])
    if found is None:
        return {}
    context = _resource_tags(found)
    if isinstance(found, (Role, User)) and found.boundary_arn and call.operation in _KNOW_THE_BOUNDARY:
        context["iam:PermissionsBoundary"] = found.boundary_arn
    return context


def _tags_of_target(call: Call, request: Request) -> dict[str, str | list[str]]:
    return {**_target(call, request), **_tags(call, request)}


def _tags(call: Call, request: Request) -> dict[str, str | list[str]]:
    context: dict[str, str | list[str]] = dict(tag_context({t["Key"]: t["Value"] for t in request.get("Tags") or ()}))
    if request.get("PermissionsBoundary"):
        context["iam:PermissionsBoundary"] = request["PermissionsBoundary"]
    if request.get("TagKeys"):
        context["aws:TagKeys"] = list(request["TagKeys"])
    return context


def _policy_arn(call: Call, request: Request) -> dict[str, str | list[str]]:
    return {**_target(call, request), "iam:PolicyARN": request["PolicyArn"]}


def _tagging(
    action: str, resources: Callable[[Call, Request], list[str]]
) -> Callable[[Call, Request], Iterable[Question]]:
    """Tags at creation need the tagging action too."""

    def further(call: Call, request: Request) -> Iterable[Question]:
        if request.get("Tags"):
            context = tag_context({tag["Key"]: tag["Value"] for tag in request["Tags"]})
            yield Question(action, resources(call, request)[0], context)

    return further


def _passes_to_ec2(call: Call, request: Request) -> Iterable[Question]:
    yield pass_role(role_arn(call, request["RoleName"]), "ec2.amazonaws.com")


def _linked_role(call: Call, request: Request) -> list[str]:
    service = request["AWSServiceName"]
    name = SERVICES[service].role_name if service in SERVICES else "*"
    return [call.arn(f"role/aws-service-role/{service}/{name}")]


def _deleted_role(call: Call, request: Request) -> list[str]:
    """`task/aws-service-role/SERVICE/NAME/ID` -> the role."""
    return [call.arn(f"role/{request['DeletionTaskId'].partition('/')[2].rpartition('/')[0]}")]


def _simulated(call: Call, request: Request) -> list[str]:
    """Whose policies are looked at; of a session, its role's."""
    arn: str = request["PolicySourceArn"]
    head, slash, rest = arn.partition(":assumed-role/")
    return [role_arn(call, rest.partition("/")[0])] if slash and ":sts:" in head else [arn]


def _created(kind: str, member: str, tag_action: str) -> Access:
    resources = _new(kind, member)
    return Access(resources=resources, context=_tags, further=_tagging(tag_action, resources))


ROLE = Access(resources=_role, context=_target)
ROLE_TAGS = Access(resources=_role, context=_tags_of_target)
ROLE_POLICY = Access(resources=_role, context=_policy_arn)
USER = Access(resources=_user, context=_target)
USER_TAGS = Access(resources=_user, context=_tags_of_target)
USER_POLICY = Access(resources=_user, context=_policy_arn)
ARN = Access(resources=lambda call, request: [request["Arn"]])
GROUP = Access(resources=_group)
GROUP_POLICY = Access(resources=_group, context=lambda call, request: {"iam:PolicyARN": request["PolicyArn"]})
PROFILE = Access(resources=_profile, context=_target)
PROFILE_TAGS = Access(resources=_profile, context=_tags_of_target)
POLICY = Access(resources=_policy, context=_target)
POLICY_TAGS = Access(resources=_policy, context=_tags_of_target)


def _not_for_short_sessions(row: Access) -> Access:
    """Sessions of GetSessionToken without a second factor, and federated users, call no operation of IAM."""
    inner = row.resources

    def resources(call: Call, request: Request) -> Iterable[str]:
        principal = call.principal
        is_user_session = principal.kind in ("user", "root") and principal.issued_at is not None
        if principal.kind == "federated-user" or (is_user_session and not principal.multi_factor):
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)
        return inner(call, request) if inner is not None else ["*"]

    return replace(row, resources=resources)


_ROWS = {
    "CreateRole": _created("role", "RoleName", "iam:TagRole"),
    "GetRole": ROLE,
    "ListRoles": Access(resources=_under("role")),
    "UpdateRole": ROLE,
    "UpdateAssumeRolePolicy": ROLE,
    "DeleteRole": ROLE,
    "TagRole": ROLE_TAGS,
    "UntagRole": ROLE_TAGS,
    "ListRoleTags": ROLE,
    "PutRolePermissionsBoundary": ROLE_TAGS,
    "DeleteRolePermissionsBoundary": ROLE,
    "CreateInstanceProfile": _created("instance-profile", "InstanceProfileName", "iam:TagInstanceProfile"),
    "GetInstanceProfile": PROFILE,
    "ListInstanceProfiles": Access(resources=_under("instance-profile")),
    "ListInstanceProfilesForRole": ROLE,
    "AddRoleToInstanceProfile": Access(resources=_profile, context=_target, further=_passes_to_ec2),
    "RemoveRoleFromInstanceProfile": PROFILE,
    "DeleteInstanceProfile": PROFILE,
    "TagInstanceProfile": PROFILE_TAGS,
    "UntagInstanceProfile": PROFILE_TAGS,
    "ListInstanceProfileTags": PROFILE,
    "CreateUser": _created("user", "UserName", "iam:TagUser"),
    "GetUser": USER,
    "ListUsers": Access(resources=_under("user")),
    "DeleteUser": USER,
    "TagUser": USER_TAGS,
    "UntagUser": USER_TAGS,
    "ListUserTags": USER,
    "PutUserPermissionsBoundary": USER_TAGS,
    "DeleteUserPermissionsBoundary": USER,
    "CreateAccessKey": USER,
    "ListAccessKeys": USER,
    "UpdateAccessKey": USER,
    "DeleteAccessKey": USER,
    "CreatePolicy": _created("policy", "PolicyName", "iam:TagPolicy"),
    "GetPolicy": POLICY,
    "ListPolicies": Access(),
    "DeletePolicy": POLICY,
    "TagPolicy": POLICY_TAGS,
    "UntagPolicy": POLICY_TAGS,
    "ListPolicyTags": POLICY,
    "CreatePolicyVersion": POLICY,
    "GetPolicyVersion": POLICY,
    "ListPolicyVersions": POLICY,
    "SetDefaultPolicyVersion": POLICY,
    "DeletePolicyVersion": POLICY,
    "ListEntitiesForPolicy": POLICY,
    "AttachRolePolicy": ROLE_POLICY,
    "DetachRolePolicy": ROLE_POLICY,
    "ListAttachedRolePolicies": ROLE,
    "AttachUserPolicy": USER_POLICY,
    "DetachUserPolicy": USER_POLICY,
    "ListAttachedUserPolicies": USER,
    "PutRolePolicy": ROLE,
    "GetRolePolicy": ROLE,
    "ListRolePolicies": ROLE,
    "DeleteRolePolicy": ROLE,
    "PutUserPolicy": USER,
    "GetUserPolicy": USER,
    "ListUserPolicies": USER,
    "DeleteUserPolicy": USER,
    "UpdateUser": Access(resources=_moved("user", _user, "NewUserName"), context=_target),
    "CreateGroup": Access(resources=_new("group", "GroupName")),
    "GetGroup": GROUP,
    "ListGroups": Access(resources=_under("group")),
    "ListGroupsForUser": USER,
    "UpdateGroup": Access(resources=_moved("group", _group, "NewGroupName")),
    "DeleteGroup": GROUP,
    "AddUserToGroup": GROUP,
    "RemoveUserFromGroup": GROUP,
    "AttachGroupPolicy": GROUP_POLICY,
    "DetachGroupPolicy": GROUP_POLICY,
    "ListAttachedGroupPolicies": GROUP,
    "PutGroupPolicy": GROUP,
    "GetGroupPolicy": GROUP,
    "ListGroupPolicies": GROUP,
    "DeleteGroupPolicy": GROUP,
    "UpdateRoleDescription": ROLE,
    "CreateLoginProfile": USER,
    "GetLoginProfile": USER,
    "UpdateLoginProfile": USER,
    "DeleteLoginProfile": USER,
    "ChangePassword": USER,
    "GetAccountPasswordPolicy": Access(),
    "UpdateAccountPasswordPolicy": Access(),
    "DeleteAccountPasswordPolicy": Access(),
    "CreateAccountAlias": Access(),
    "DeleteAccountAlias": Access(),
    "ListAccountAliases": Access(),
    "GetAccountSummary": Access(),
    "GenerateCredentialReport": Access(),
    "GetCredentialReport": Access(),
    "GetAccessKeyLastUsed": Access(resources=_keys_user),
    "GenerateServiceLastAccessedDetails": ARN,
    "GetServiceLastAccessedDetails": Access(),
    "GetServiceLastAccessedDetailsWithEntities": Access(),
    "ListPoliciesGrantingServiceAccess": ARN,
    "ListMFADevices": USER,
    "ListVirtualMFADevices": Access(),
    "ListSigningCertificates": USER,
    "ListSSHPublicKeys": USER,
    "ListServiceSpecificCredentials": USER,
    "GetAccountAuthorizationDetails": Access(),
    "CreateServiceLinkedRole": Access(
        resources=_linked_role, context=lambda call, request: {"iam:AWSServiceName": request["AWSServiceName"]}
    ),
    "DeleteServiceLinkedRole": ROLE,
    "SimulateCustomPolicy": Access(),
    "SimulatePrincipalPolicy": Access(resources=_simulated),
    "GetContextKeysForCustomPolicy": Access(),
    "GetContextKeysForPrincipalPolicy": Access(resources=_simulated),
    "GetServiceLinkedRoleDeletionStatus": Access(resources=_deleted_role),
}
ACCESS = {name: _not_for_short_sessions(row) for name, row in _ROWS.items()}
