"""Every error of IAM and STS that is written down, from the request that causes it, over the wire: code, status and text.

One row a line: the error, and what causes it. Texts as recorded from AWS; where a recording names a role, a user or a policy,
the row names its own.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import botocore.auth
import pytest
from botocore import UNSIGNED

from in_process import ACCOUNT, InProcessHouse
from longshore.services.iam import store
from longshore.services.iam.records import InstanceProfile, Role
from people import EC2_TRUST, Person, allow, deny, document, trust
from refusals import refused, unchecked
from virtual_time import START

BASE = f"arn:aws:iam::{ACCOUNT}"
READ = "arn:aws:iam::aws:policy/ReadOnlyAccess"
BATCH_ROLE = "AWSServiceRoleForBatch"
Cause = Callable[["World"], Callable[[], Any]]  # prepares, and gives the request that is refused


class World:
    """One house for all rows. Each row makes its own things in it, under the name that it is given."""

    def __init__(self, house: InProcessHouse) -> None:
        self.house = house
        self.iam = house.client("iam")
        self.sts = house.client("sts")
        self._names = itertools.count()
        self.name = ""

    def begin(self) -> None:
        self.name = f"x{next(self._names)}"

    def role(self, policy: str = EC2_TRUST, name: str = "", **more: Any) -> str:
        """A role, by its name."""
        return self.iam.create_role(
            RoleName=name or self.name, AssumeRolePolicyDocument=policy, **more
        )["Role"]["RoleName"]  # fmt: skip

    def policy(self, name: str = "", text: str | None = None) -> str:
        """A managed policy, by its ARN."""
        text = text or document(allow("s3:*"))
        return self.iam.create_policy(PolicyName=name or self.name, PolicyDocument=text)["Policy"]["Arn"]

    def profile(self) -> str:
        return self.iam.create_instance_profile(InstanceProfileName=self.name)["InstanceProfile"]["InstanceProfileName"]

    def user(self, **more: Any) -> str:
        return self.iam.create_user(UserName=self.name, **more)["User"]["UserName"]

    def person(self, *statements: dict[str, Any], **more: Any) -> Person:
        found = Person(self.house, self.name, **more)
        if statements:
            found.may(*statements)
        return found

    def session(self, *, policy: str | None = None, seconds: int | None = None) -> Any:
        """A session of a role that may everything, as a way to its clients."""
        anna = self.person(allow("sts:*"))
        self.role(trust({"AWS": anna.arn}), name=f"{self.name}-role")
        self.iam.attach_role_policy(
            RoleName=f"{self.name}-role", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
        more: dict[str, Any] = {"Policy": policy} if policy else {}
        if seconds:
            more["DurationSeconds"] = seconds
        given = anna.client("sts").assume_role(
            RoleArn=f"{BASE}:role/{self.name}-role", RoleSessionName="se", **more
        )["Credentials"]  # fmt: skip
        return lambda service: self.house.client(
            service, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
        )

    def write(self, function: Callable[[Any], Any]) -> None:
        async def write() -> None:
            await self.house.store.write(function)

        self.house.loop.run_until_complete(write())

    def fill(self, kind: type[Any], many: int, make: Callable[[int], Any]) -> None:
        """Puts so many into the account at once."""

        def write(transaction: Any) -> None:
            for number in range(many - store.count(transaction, kind, ACCOUNT)):
                store.add(transaction, ACCOUNT, make(number))

        self.write(write)


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    house = InProcessHouse()
    yield World(house)
    house.close()


@pytest.fixture
def world(shared: World) -> World:
    shared.begin()
    return shared


def denied(arn: str, action: str, resource: str, because: str) -> str:
    return f"User: {arn} is not authorized to perform: {action} on resource: {resource} {because}"


# What hangs on what --------------------------------------------------------------------------------------------------


def _attached_role(w: World) -> str:
    w.iam.attach_role_policy(RoleName=w.role(), PolicyArn=READ)
    return w.name


def _inline_role(w: World) -> str:
    w.iam.put_role_policy(RoleName=w.role(), PolicyName="p", PolicyDocument=document(allow("s3:*")))
    return w.name


def _role_in_profile(w: World) -> str:
    w.iam.add_role_to_instance_profile(InstanceProfileName=w.profile(), RoleName=w.role())
    return w.name


def _twenty(w: World) -> str:
    w.role()
    for number in range(20):
        w.iam.attach_role_policy(RoleName=w.name, PolicyArn=w.policy(f"{w.name}-{number}"))
    return w.policy(f"{w.name}-20")


def _five(w: World) -> str:
    arn = w.policy()
    for _ in range(4):
        w.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")))
    return arn


def _two_keys(w: World) -> str:
    w.user()
    for _ in range(2):
        w.iam.create_access_key(UserName=w.name)
    return w.name


def _linked(w: World) -> str:
    with_it = {each["RoleName"] for each in w.iam.list_roles(PathPrefix="/aws-service-role/")["Roles"]}
    if BATCH_ROLE not in with_it:
        w.iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    return BATCH_ROLE


def _a_role(number: int) -> Role:
    name = f"many-{number}"
    return Role(
        name=name,
        path="/",
        role_id=f"AROA{number:017d}",
        arn=f"{BASE}:role/{name}",
        created_at=START,
        trust=EC2_TRUST,
    )


def _a_profile(number: int) -> InstanceProfile:
    name = f"many-{number}"
    return InstanceProfile(
        name=name, path="/", profile_id=f"AIPA{number:017d}", arn=f"{BASE}:instance-profile/{name}", created_at=START
    )


def _full_of(w: World, kind: type[Any], make: Callable[[int], Any], request: Callable[[], Any]) -> Callable[[], Any]:
    """Asked in a full account, which is emptied again: other rows need the room."""

    def ask() -> None:
        w.fill(kind, 1000, make)
        try:
            request()
        finally:
            many = [make(number) for number in range(1000)]
            w.write(
                lambda transaction: [
                    store.drop(transaction, ACCOUNT, each)
                    for each in many
                    if store.find(transaction, kind, ACCOUNT, each.name) is not None
                ]
            )

    return ask


LONG_TRUST = trust({"AWS": [f"arn:aws:iam::{number:012d}:root" for number in range(60)]})


def _sized(characters: int) -> str:
    """A document of more than so many characters that count."""
    return document(
        allow("s3:GetObject", [f"arn:aws:s3:::bucket/{number:070d}" for number in range(characters // 90 + 1)])
    )


# The rows --------------------------------------------------------------------------------------------------------------

EXISTS = [
    ("Role with name {name} already exists.", lambda w: (w.role(), lambda: w.role())[1]),
    ("Role with name {upper} already exists.", lambda w: (w.role(), lambda: w.role(name=w.name.upper()))[1]),
    ("User with name {name} already exists.", lambda w: (w.user(), lambda: w.user())[1]),
    (
        "Group with name {name} already exists.",
        lambda w: (w.iam.create_group(GroupName=w.name), lambda: w.iam.create_group(GroupName=w.name))[1],
    ),
    ("Instance Profile {name} already exists.", lambda w: (w.profile(), lambda: w.profile())[1]),
    (
        "A policy called {name} already exists. Duplicate names are not allowed.",
        lambda w: (w.policy(), lambda: w.policy())[1],
    ),
]

MISSING = [
    ("The role with name {name} cannot be found.", lambda w: lambda: w.iam.get_role(RoleName=w.name)),
    ("The user with name {name} cannot be found.", lambda w: lambda: w.iam.get_user(UserName=w.name)),
    ("The group with name {name} cannot be found.", lambda w: lambda: w.iam.get_group(GroupName=w.name)),
    (
        "Instance Profile {name} cannot be found.",
        lambda w: lambda: w.iam.get_instance_profile(InstanceProfileName=w.name),
    ),
    (
        "The role policy with name p cannot be found.",
        lambda w: (w.role(), lambda: w.iam.get_role_policy(RoleName=w.name, PolicyName="p"))[1],
    ),
    (
        "The user policy with name p cannot be found.",
        lambda w: (w.user(), lambda: w.iam.delete_user_policy(UserName=w.name, PolicyName="p"))[1],
    ),
    (
        "Policy " + BASE + ":policy/{name} was not found.",
        lambda w: lambda: w.iam.delete_policy(PolicyArn=f"{BASE}:policy/{w.name}"),
    ),
    (
        "Policy " + BASE + ":policy/{name} was not found.",
        lambda w: (w.role(), lambda: w.iam.detach_role_policy(RoleName=w.name, PolicyArn=f"{BASE}:policy/{w.name}"))[1],
    ),
    (
        "Policy " + BASE + ":policy/{name} does not exist or is not attachable.",
        lambda w: (w.role(), lambda: w.iam.attach_role_policy(RoleName=w.name, PolicyArn=f"{BASE}:policy/{w.name}"))[1],
    ),
]

CONFLICTS: list[tuple[str, Cause]] = [
    (
        "Cannot delete entity, must detach all policies first.",
        lambda w: (_attached_role(w), lambda: w.iam.delete_role(RoleName=w.name))[1],
    ),
    (
        "Cannot delete entity, must delete policies first.",
        lambda w: (_inline_role(w), lambda: w.iam.delete_role(RoleName=w.name))[1],
    ),
    (
        "Cannot delete entity, must remove roles from instance profile first.",
        lambda w: (_role_in_profile(w), lambda: w.iam.delete_role(RoleName=w.name))[1],
    ),
    (
        "Cannot delete entity, must remove roles from instance profile first.",
        lambda w: (_role_in_profile(w), lambda: w.iam.delete_instance_profile(InstanceProfileName=w.name))[1],
    ),
    (
        "Cannot delete entity, must delete access keys first.",
        lambda w: (w.person(), lambda: w.iam.delete_user(UserName=w.name))[1],
    ),
    (
        "Cannot delete the default version of a policy.",
        lambda w: _then(w.policy(), lambda arn: w.iam.delete_policy_version(PolicyArn=arn, VersionId="v1")),
    ),
    (
        "Cannot delete a policy attached to entities.",
        lambda w: _then(
            w.policy(),
            lambda arn: w.iam.delete_policy(PolicyArn=arn),
            lambda arn: w.iam.attach_role_policy(RoleName=w.role(), PolicyArn=arn),
        ),
    ),
    (
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
        "The default version is deleted with the policy.",
        lambda w: _then(_five(w), lambda arn: w.iam.delete_policy(PolicyArn=arn)),
    ),
]


def _then(made: str, request: Callable[[str], Any], *before: Callable[[str], Any]) -> Callable[[], Any]:
    for step in before:
        step(made)
    return lambda: request(made)


LIMITS: list[tuple[str, Cause]] = [
    (
        "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
        lambda w: (
            _role_in_profile(w),
            lambda: w.iam.add_role_to_instance_profile(InstanceProfileName=w.name, RoleName=w.name),
        )[1],
    ),
    (
        "Cannot exceed quota for PoliciesPerRole: 20",
        lambda w: _then(_twenty(w), lambda arn: w.iam.attach_role_policy(RoleName=w.name, PolicyArn=arn)),
    ),
    ("Cannot exceed quota for ACLSizePerRole: 2048", lambda w: lambda: w.role(LONG_TRUST)),
    ("Cannot exceed quota for PolicySize: 6144", lambda w: lambda: w.policy(text=_sized(6144))),
    (
        "Cannot exceed quota for InstanceProfilesPerAccount: 1000",
        lambda w: _full_of(w, InstanceProfile, _a_profile, w.profile),
    ),
    ("Cannot exceed quota for RolesPerAccount: 1000", lambda w: _full_of(w, Role, _a_role, w.role)),
    (
        "Cannot exceed quota for AccessKeysPerUser: 2",
        lambda w: (_two_keys(w), lambda: w.iam.create_access_key(UserName=w.name))[1],
    ),
    (
        "Maximum policy size of 10240 bytes exceeded for role {name}",
        lambda w: (
            w.role(),
            lambda: w.iam.put_role_policy(RoleName=w.name, PolicyName="p", PolicyDocument=_sized(10_240)),
        )[1],
    ),
    (
        "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.",
        lambda w: _then(
            _five(w), lambda arn: w.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(allow("s3:*")))
        ),
    ),
]

TWICE = [{"Key": "team", "Value": "a"}, {"Key": "Team", "Value": "b"}]
INPUT: list[tuple[str, Cause]] = [
    (
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        lambda w: lambda: w.role(Tags=TWICE),
    ),
    (
        f"Service role name {BATCH_ROLE} has been taken in this account, please try a different suffix.",
        lambda w: (_linked(w), lambda: w.iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com"))[1],
    ),
    (
        "Custom suffix is not allowed for batch.amazonaws.com",
        lambda w: lambda: w.iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com", CustomSuffix="s"),
    ),
    (
        "Paths beginning with '/aws-service-role' are reserved for AWS Service Linked Roles",
        lambda w: lambda: w.role(Path="/aws-service-role/batch.amazonaws.com/"),
    ),
]

VALIDATION: list[tuple[str, Cause]] = [
    (
        f"1 validation error detected: Value '{'r' * 65}' at 'roleName' failed to satisfy constraint: Member must have "
        "length less than or equal to 64",
        lambda w: lambda: unchecked(w.house.client("iam")).get_role(RoleName="r" * 65),
    ),
    (
        f"2 validation errors detected: Value '{'d' * 1001}' at 'description'"[:46],
        lambda w: (
            lambda: unchecked(w.house.client("iam")).create_role(
                RoleName="r" * 65, AssumeRolePolicyDocument=EC2_TRUST, Description="d" * 1001
            )
        ),
    ),
    (
        "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: "
        "+=,.@_-",
        lambda w: lambda: w.role(name="no blanks"),
    ),
    (
        "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters "
        "and/or / characters.",
        lambda w: lambda: w.role(Path="no/slash"),
    ),
    (
        "Invalid ARN:  Could not be parsed!",
        lambda w: (w.role(), lambda: w.iam.attach_role_policy(RoleName=w.name, PolicyArn="this-is-no-arn-at-all"))[1],
    ),
    (
        "this-is-no-arn-at-all is invalid",
        lambda w: (
            lambda: (
                w.person(allow("*")).client("sts").assume_role(RoleArn="this-is-no-arn-at-all", RoleSessionName="se")
            )
        ),
    ),
    (
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        lambda w: lambda: w.session(seconds=3601),
    ),
    (
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        lambda w: _chained(w, DurationSeconds=3601),
    ),
    ("Must specify userName when calling with non-User credentials", lambda w: w.session()("iam").get_user),
    ("Invalid Marker.", lambda w: lambda: w.iam.list_users(Marker="rubbish")),
    (
        "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set",
        lambda w: (
            lambda: unchecked(w.house.client("iam")).update_access_key(
                UserName="x", AccessKeyId="AKIAIOSFODNN7EXAMPLE", Status="Asleep"
            )
        ),
    ),
]


def _chained(w: World, **more: Any) -> Callable[[], Any]:
    session = w.session()
    second = w.role(trust({"AWS": f"{BASE}:role/{w.name}-role"}), name=f"{w.name}-second")
    return lambda: session("sts").assume_role(RoleArn=f"{BASE}:role/{second}", RoleSessionName="se", **more)


TRUST: list[tuple[str, str]] = [
    ("This policy contains invalid Json", "{"),
    ("Has prohibited field Resource", trust({"Service": "ec2.amazonaws.com"}, Resource="*")),
    (
        "AssumeRole policy may only specify STS AssumeRole actions.",
        trust({"Service": "ec2.amazonaws.com"}, action="s3:GetObject"),
    ),
    (f'Invalid principal in policy: "AWS":"{BASE}:user/nobody"', trust({"AWS": f"{BASE}:user/nobody"})),
    ('AssumeRolepolicy contained an invalid principal: "STAR":"*"', trust("*")),
]

_PATHS = (
    "user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, "
    "saml-provider/, oidc-provider/, report/, access-report/"
)
PERMISSIONS: list[tuple[str, str]] = [
    ("Syntax errors in policy.", "{"),
    ("Syntax errors in policy.", '{"Version": "2012-10-17", "Statement": [], "Author": "me"}'),
    ("Syntax errors in policy.", document({**allow("s3:*"), "NotAction": "s3:*"})),
    ("Syntax errors in policy.", document(allow("s3:*", Condition={"StringSounds": {"aws:x": "y"}}))),
    ("Syntax errors in policy.", document(allow("s3:*"), version="2013-01-01")),
    ("Syntax errors in policy.", document(allow("s3:*", Condition={"NullIfExists": {"aws:x": "true"}}))),
    ("Syntax errors in policy.", document(allow("s3:*", Condition={"BinaryEquals": {"aws:x": "not base64!"}}))),
    ("Policy document must be version 2012-10-17 or greater.", document(allow("s3:*"), version="2008-10-17")),
    ("The policy failed legacy parsing", document({**allow("s3:*"), "Effect": "allow"})),
    (
        "The policy failed legacy parsing",
        document(allow("s3:*", Condition={"DateLessThan": {"aws:CurrentTime": "yesterday"}})),
    ),
    ("The policy failed legacy parsing", document(allow("s3:*", Condition={"NumericEquals": {"s3:max-keys": "ten"}}))),
    (
        "The policy failed legacy parsing",
        document(allow("s3:*", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/64"}})),
    ),
    ("The policy failed legacy parsing", document(allow("s3:*", Condition={"ArnLike": {"aws:SourceArn": "no:arn"}}))),
    ("The policy failed legacy parsing", document(allow("s3:*", "arn:aws:s3:bucket"))),
    ("Policy statement must contain actions.", document({"Effect": "Allow", "Resource": "*"})),
    ("Policy statement must contain resources.", document({"Effect": "Allow", "Action": "s3:*"})),
    (
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        document(allow("GetObject")),
    ),
    ("Actions/Condition can contain only one colon.", document(allow("s3:Get:Object"))),
    ("Vendor s 3 is not valid", document(allow("s 3:GetObject"))),
    ('Resource bucket must be in ARN format or "*".', document(allow("s3:*", "bucket"))),
    (
        'Partition "aws-mars" is not valid for resource "arn:aws-mars:s3:::bucket".',
        document(allow("s3:*", "arn:aws-mars:s3:::bucket")),
    ),
    (f'IAM resource path must either be "*" or start with {_PATHS}.', document(allow("iam:*", f"{BASE}:door/x"))),
    (
        f"IAM resource arn:aws:iam:us-east-1:{ACCOUNT}:role/x cannot contain region information.",
        document(allow("iam:*", f"arn:aws:iam:us-east-1:{ACCOUNT}:role/x")),
    ),
    (
        "Resource arn:aws:s3:us-east-1::bucket can not contain region information.",
        document(allow("s3:*", "arn:aws:s3:us-east-1::bucket")),
    ),
    (
        "Statement IDs (SID) in a single policy must be unique.",
        document(allow("s3:*", Sid="one"), allow("sqs:*", Sid="one")),
    ),
    ("Policy document should not specify a principal.", document(allow("s3:*", Principal={"AWS": "*"}))),
    ("Statement IDs (SID) must be alpha-numeric", document(allow("s3:*", Sid="not this"))),
    (
        "Resource vendor must be fully qualified and cannot contain regexes.",
        document(allow("s3:*", "arn:aws:s*:::bucket")),
    ),
    ("Action vendors (e.g., aws, ec2, etc.) must not contain wildcards.", document(allow("s*:GetObject"))),
]

INVALID_TAGS: list[tuple[str, Cause]] = [
    (
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        lambda w: _tagged(w, Tags=TWICE),
    ),
    (
        "The specified transitive tag key must be included in the requested tags.",
        lambda w: _tagged(w, Tags=TWICE[:1], TransitiveTagKeys=["other"]),
    ),
]


def _tagged(w: World, **more: Any) -> Callable[[], Any]:
    anna = w.person(allow("sts:*"))
    role = w.role(trust({"AWS": anna.arn}, action=["sts:AssumeRole", "sts:TagSession"]), name=f"{w.name}-role")
    return lambda: anna.client("sts").assume_role(RoleArn=f"{BASE}:role/{role}", RoleSessionName="se", **more)


def _rows() -> Iterator[Any]:
    for code, status, rows in (
        ("EntityAlreadyExists", 409, EXISTS),
        ("NoSuchEntity", 404, MISSING),
        ("DeleteConflict", 409, CONFLICTS),
        ("LimitExceeded", 409, LIMITS),
        ("InvalidInput", 400, INPUT),
        ("ValidationError", 400, VALIDATION),
        ("InvalidParameterValue", 400, INVALID_TAGS),
    ):
        for text, cause in rows:
            yield pytest.param(code, status, text, cause, id=f"{code}: {text[:60]}")
    for text, policy in TRUST:
        yield pytest.param(
            "MalformedPolicyDocument",
            400,
            text,
            lambda w, policy=policy: lambda: w.role(policy),
            id=f"trust: {text[:60]}",
        )
    for text, policy in PERMISSIONS:
        yield pytest.param(
            "MalformedPolicyDocument",
            400,
            text,
            lambda w, policy=policy: lambda: w.policy(text=policy),
            id=f"permissions: {text[:60]}",
        )
    text = f"Cannot perform the operation on the protected role '{BATCH_ROLE}' - this role is only modifiable by AWS"
    for operation in ("delete_role", "update_role"):
        yield pytest.param(
            "UnmodifiableEntity",
            400,
            text,
            lambda w, operation=operation: _then(_linked(w), lambda name: getattr(w.iam, operation)(RoleName=name)),
            id=f"UnmodifiableEntity: {operation}",
        )


@pytest.mark.parametrize(("code", "status", "text", "cause"), list(_rows()))
def test_the_request_that_causes_it_is_answered_with_it(
    world: World, code: str, status: int, text: str, cause: Cause
) -> None:
    request = cause(world)
    expected = text.replace("{name}", world.name).replace("{upper}", world.name.upper())
    with refused(code, status=status) as caught:
        request()
    message = caught.value.response["Error"]["Message"]
    if expected.startswith("2 validation errors"):
        assert message.startswith(expected[:30]) and "; Value" in message, message
    else:
        assert message == expected


# Refusals ----------------------------------------------------------------------------------------------------------------


def _identity_silent(w: World) -> tuple[Any, str, str]:
    return w.person().client("iam"), f"{BASE}:user/{w.name}", "because no identity-based policy allows the {} action"


def _boundary_silent(w: World) -> tuple[Any, str, str]:
    anna = w.person(allow("iam:*"), PermissionsBoundary=w.policy())
    return anna.client("iam"), anna.arn, "because no permissions boundary allows the {} action"


def _session_silent(w: World) -> tuple[Any, str, str]:
    client = w.session(policy=document(allow("s3:*")))("iam")
    return client, _session_arn(w), "because no session policy allows the {} action"


def _identity_denies(w: World) -> tuple[Any, str, str]:
    anna = w.person(allow("iam:*"), deny("iam:ListRoles"))
    return anna.client("iam"), anna.arn, "with an explicit deny in an identity-based policy"


def _boundary_denies(w: World) -> tuple[Any, str, str]:
    anna = w.person(allow("iam:*"), PermissionsBoundary=w.policy(text=document(allow("*"), deny("iam:ListRoles"))))
    return anna.client("iam"), anna.arn, "with an explicit deny in a permissions boundary"


def _session_denies(w: World) -> tuple[Any, str, str]:
    client = w.session(policy=document(allow("*"), deny("iam:ListRoles")))("iam")
    return client, _session_arn(w), "with an explicit deny in a session policy"


def _session_arn(w: World) -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{w.name}-role/se"


@pytest.mark.parametrize(
    "caller",
    [_identity_silent, _boundary_silent, _session_silent, _identity_denies, _boundary_denies, _session_denies],
)
def test_a_refusal_names_one_reason(world: World, caller: Callable[[World], tuple[Any, str, str]]) -> None:
    client, arn, because = caller(world)
    text = denied(arn, "iam:ListRoles", f"{BASE}:role/", because.format("iam:ListRoles"))
    with refused("AccessDenied", text, status=403):
        client.list_roles()


def test_what_is_another_accounts_is_refused_for_want_of_its_own_policy(world: World) -> None:
    anna = world.person(allow("*"))
    foreign = "arn:aws:iam::210987654321:policy/theirs"
    text = denied(
        anna.arn, "iam:GetPolicy", foreign, "because no resource-based policy allows the iam:GetPolicy action"
    )
    with refused("AccessDenied", text, status=403):
        anna.client("iam").get_policy(PolicyArn=foreign)


def test_a_trust_policy_that_denies_is_named_one_that_is_silent_is_not(world: World) -> None:
    anna = world.person(allow("sts:AssumeRole"))
    statement = {"Effect": "Deny", "Principal": {"AWS": anna.arn}, "Action": "sts:AssumeRole"}
    denying = {**json.loads(trust({"AWS": f"{BASE}:root"}))}
    denying["Statement"].append(statement)
    roles = {
        "denies": world.role(json.dumps(denying), name=f"{world.name}-denies"),
        "silent": world.role(EC2_TRUST, name=f"{world.name}-silent"),
        "gone": f"{world.name}-gone",
    }
    for kind, name in roles.items():
        arn = f"{BASE}:role/{name}"
        text = f"User: {anna.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        if kind == "denies":
            text += " with an explicit deny in the role trust policy"
        with refused("AccessDenied", text, status=403):
            anna.client("sts").assume_role(RoleArn=arn, RoleSessionName="se")


def test_a_role_that_is_not_there_is_refused_to_one_who_may_not_read_it(world: World) -> None:
    anna = world.person()
    text = denied(
        anna.arn, "iam:GetRole", f"{BASE}:role/gone", "because no identity-based policy allows the iam:GetRole action"
    )
    with refused("AccessDenied", text, status=403):
        anna.client("iam").get_role(RoleName="gone")


def test_sts_refuses_what_is_too_large_or_too_short(world: World) -> None:
    anna = world.person(allow("sts:*"))
    with refused("PackedPolicyTooLarge", status=400):
        anna.client("sts").get_federation_token(Name="guest", Policy=_sized(1700), PolicyArns=[{"arn": READ}] * 5)
    with refused("ValidationError", status=400) as caught:
        unchecked(anna.client("sts")).get_federation_token(Name="g")
    assert "at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2" in str(
        caught.value
    )
    with refused("InvalidAuthorizationMessageException", status=400):
        world.sts.decode_authorization_message(EncodedMessage="rubbish")


# Who cannot be known -----------------------------------------------------------------------------------------------------

INVALID_TOKEN = "The security token included in the request is invalid."
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)


def test_keys_that_are_unknown_asleep_or_gone(world: World) -> None:
    anna = world.person(allow("*"))
    key, secret = anna.key["AccessKeyId"], anna.key["SecretAccessKey"]

    def refused_both(*credentials: str) -> None:
        with refused("InvalidClientTokenId", INVALID_TOKEN, status=403):
            world.house.client("sts", *credentials).get_caller_identity()
        with refused("UnrecognizedClientException", INVALID_TOKEN, status=400):
            world.house.client("ecs", *credentials).list_clusters()

    refused_both("AKIAGONEGONEGONEGONE", "x" * 40)
    given = anna.client("sts").get_session_token()["Credentials"]
    refused_both(given["AccessKeyId"], given["SecretAccessKey"])
    refused_both(given["AccessKeyId"], given["SecretAccessKey"], "another-token")
    world.iam.update_access_key(UserName=world.name, AccessKeyId=key, Status="Inactive")
    refused_both(key, secret)
    world.iam.update_access_key(UserName=world.name, AccessKeyId=key, Status="Active")
    anna.client("sts").get_caller_identity()
    world.iam.delete_access_key(UserName=world.name, AccessKeyId=key)
    refused_both(key, secret)


def test_signatures_that_are_wrong_late_or_early(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = world.person(allow("*"))
    wrong = (anna.key["AccessKeyId"], "w" * 40)
    with refused("SignatureDoesNotMatch", MISMATCH, status=403):
        world.house.client("iam", *wrong).list_users()
    with refused("InvalidSignatureException", MISMATCH, status=400):
        world.house.client("batch", *wrong).describe_job_queues()
    now = world.house.clock.now()
    stamp = "%Y%m%dT%H%M%SZ"

    def signing_at(moment: Any) -> None:
        monkeypatch.setattr(
            botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: moment.replace(tzinfo=None)
        )

    signing_at(now - timedelta(minutes=20))
    earliest, then = (now - timedelta(minutes=5)).strftime(stamp), (now - timedelta(minutes=20)).strftime(stamp)
    late = f"Signature expired: {then} is now earlier than {earliest} ({now.strftime(stamp)} - 5 min.)"
    with refused("SignatureDoesNotMatch", late, status=403):
        world.iam.list_users()
    with refused("InvalidSignatureException", late, status=400):
        world.house.client("ecs").list_clusters()
    signing_at(now + timedelta(minutes=20))
    latest, then = (now + timedelta(minutes=5)).strftime(stamp), (now + timedelta(minutes=20)).strftime(stamp)
    early = f"Signature not yet current: {then} is still later than {latest} ({now.strftime(stamp)} + 5 min.)"
    with refused("SignatureDoesNotMatch", early, status=403):
        world.iam.list_users()
    with refused("InvalidSignatureException", early, status=400):
        world.house.client("logs").describe_log_groups()


def test_sessions_that_are_over(world: World) -> None:
    session = world.session(seconds=900)
    world.house.pass_time(901)
    with refused("ExpiredToken", "The security token included in the request is expired", status=403):
        session("iam").list_roles()
    with refused("ExpiredTokenException", "The security token included in the request is expired", status=400):
        session("ecs").list_clusters()


def test_requests_without_a_signature(world: World) -> None:
    for service, ask, code, status in (
        ("iam", lambda client: client.list_users(), "MissingAuthenticationToken", 403),
        ("ecs", lambda client: client.list_clusters(), "MissingAuthenticationTokenException", 400),
    ):
        client = world.house.client(service)
        client.meta.events.register("choose-signer.*.*", lambda **_: UNSIGNED)
        with refused(code, "Request is missing Authentication Token", status=status):
            ask(client)
