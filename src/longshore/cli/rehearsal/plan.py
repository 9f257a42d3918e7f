"""What has to be done so that an account's identities here are those that its authorization details tell. Pure.

Whatever the file names becomes as it is there; what it does not name stays. So a second import finds nothing to do, and one
after a change there does that change. Both sides are answers of GetAccountAuthorizationDetails.

Not in such a file, and so not taken over: passwords, keys, MFA devices, identity providers, descriptions and session
durations of roles, tags of policies, instance profiles without a role. Versions of a policy count from v1 here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import unquote

from msgspec import Struct

from longshore.cli.doctor.mend import Do
from longshore.policy.document import listed

Kind = Literal["User", "Group", "Role"]
Wire = Mapping[str, Any]
_KINDS: tuple[Kind, ...] = ("Group", "User", "Role")  # Users are put into groups, and trusted by roles.
_NAMED: tuple[Kind, ...] = ("User", "Role")  # as trust policies may name them
_AWS = "arn:aws:iam::aws:policy/"
_LINKED = "/aws-service-role/"
_STAND_IN = "/aws/"  # the path of policies that stand for those of AWS that are not known here
_VERSIONS_MAX = 5  # IAM user guide, "IAM and AWS STS quotas": versions of a managed policy
_NUMBER = re.compile(r"\d{12}")
_ARN_OF = "(arn:aws[a-z-]*:[^:]*:[^:]*:){}(?=:)"
# What a role trusts until those are there whom it is to trust.
_NOBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


class NoDetails(Exception):
    """The file is no answer of GetAccountAuthorizationDetails."""


class Left(Struct, frozen=True):
    """What is not taken over, and why."""

    of: str  # "role ops"
    what: str
    because: str


class Step(Struct, frozen=True):
    of: str
    do: Do


class Plan(Struct, frozen=True):
    steps: tuple[Step, ...]
    left: tuple[Left, ...]


class Here(Struct, frozen=True):
    """The account that is to become like the other. `profiles`: instance profile as IAM shows it, by name."""

    number: str
    details: Wire
    profiles: Mapping[str, Wire]
    aws_policies: frozenset[str]  # ARNs of AWS's own that are known


def source_of(details: Wire) -> str:
    """The number of the account that the file is of. NoDetails."""
    for member in ("RoleDetailList", "UserDetailList", "GroupDetailList", "Policies"):
        for each in details.get(member) or ():
            parts = str(each.get("Arn") or "").split(":")
            if len(parts) > 4 and _NUMBER.fullmatch(parts[4]):
                return parts[4]
    raise NoDetails("nothing in it is of an account: wanted is what `aws iam get-account-authorization-details` prints")


def plan(details: Wire, here: Here) -> Plan:
    """NoDetails."""
    try:
        return _Planner(details, here).plan()
    except KeyError as error:
        raise NoDetails(f"a part of it is missing: {error}") from error


def moved(value: Any, source: str, target: str) -> Any:
    """The same, said of another account: its number in ARNs and where it stands alone. Bucket names keep theirs."""
    if isinstance(value, str):
        return target if value == source else re.sub(_ARN_OF.format(source), rf"\g<1>{target}", value)
    if isinstance(value, list):
        return [moved(each, source, target) for each in value]
    if isinstance(value, Mapping):
        return {key: moved(each, source, target) for key, each in value.items()}
    return value


def document_of(value: Any) -> Any:
    """A policy as an object: the `aws` command prints it so, other programs as a text, encoded for URLs or not."""
    if not isinstance(value, str):
        return value
    return json.loads(value if value.lstrip().startswith("{") else unquote(value))


class _Planner:
    def __init__(self, details: Wire, here: Here) -> None:
        self._here = here
        self._source = source_of(details)
        self._steps: list[Step] = []
        self._left: list[Left] = []
        self._wanted = moved(_named(_with_documents(details)), self._source, here.number)
        self._there = _with_documents(here.details)
        self._policies = _by_name(self._there, "Policies", "PolicyName")
        self._stand_ins = dict(self._standing_in())

    def plan(self) -> Plan:
        for policy in self._wanted_policies():
            self._policy(policy)
        for kind in _KINDS:
            self._make_all(kind)
        self._trust_all()
        for kind in _KINDS:
            for name, each in self._all(self._wanted, kind).items():
                if not _is_linked(each):
                    self._hold(kind, each, self._all(self._there, kind).get(name, {}))
        self._memberships()
        self._profiles()
        return Plan(tuple(self._steps), tuple(self._left))

    def _do(self, of: str, operation: str, **parameters: Any) -> None:
        self._steps.append(Step(of, Do("iam", operation, parameters)))

    def _leave(self, of: str, what: str, because: str) -> None:
        if Left(of, what, because) not in self._left:
            self._left.append(Left(of, what, because))

    def _all(self, details: Wire, kind: Kind) -> dict[str, Wire]:
        return _by_name(details, f"{kind}DetailList", f"{kind}Name")

    # --- managed policies ---

    def _wanted_policies(self) -> Iterator[Wire]:
        for policy in self._wanted.get("Policies") or ():
            if not policy["Arn"].startswith(_AWS):
                yield policy
            elif policy["Arn"] in self._stand_ins:
                default = [each for each in policy["PolicyVersionList"] if each["IsDefaultVersion"]]
                arn = self._stand_ins[policy["Arn"]]
                yield {**policy, "Arn": arn, "Path": _STAND_IN, "PolicyVersionList": default}

    def _standing_in(self) -> Iterator[tuple[str, str]]:
        """Policies of AWS that are used and not known here, but whose document the file has -> what stands for them."""
        policies = self._wanted["Policies"]
        own = {each["PolicyName"].lower() for each in policies if not each["Arn"].startswith(_AWS)}
        holders = [each for kind in _KINDS for each in self._all(self._wanted, kind).values()]
        used = {arn for each in holders for arn in (*_attached(each), _boundary(each))}
        for each in policies:
            arn, name = each["Arn"], each["PolicyName"]
            if arn in used and arn.startswith(_AWS) and arn not in self._here.aws_policies and name.lower() not in own:
                yield arn, f"arn:aws:iam::{self._here.number}:policy{_STAND_IN}{name}"

    def _policy(self, policy: Wire) -> None:
        of, name = f"policy {policy['PolicyName']}", policy["PolicyName"]
        versions = sorted(policy["PolicyVersionList"], key=_number)
        there = self._policies.get(name.lower())
        if there is None:
            first, *others = versions
            more = {"Description": policy["Description"]} if policy.get("Description") else {}
            path = policy.get("Path") or "/"
            self._do(of, "CreatePolicy", PolicyName=name, Path=path, PolicyDocument=_json(first["Document"]), **more)
            for each in others:
                self._version(of, policy["Arn"], each["Document"], default=each["IsDefaultVersion"])
            return
        if there["Arn"] != policy["Arn"]:
            self._leave(of, "all of it", f"{there['Arn']} has its name here")
            return
        self._default(of, policy["Arn"], versions, sorted(there["PolicyVersionList"], key=_number))

    def _default(self, of: str, arn: str, versions: list[Wire], there: list[Wire]) -> None:
        """The version that counts, of a policy that is there already."""
        wanted = next(each["Document"] for each in versions if each["IsDefaultVersion"])
        same = [each for each in there if each["Document"] == wanted]
        if any(each["IsDefaultVersion"] for each in same):
            return
        if same:
            self._do(of, "SetDefaultPolicyVersion", PolicyArn=arn, VersionId=same[0]["VersionId"])
            return
        if len(there) >= _VERSIONS_MAX:
            oldest = next(each for each in there if not each["IsDefaultVersion"])
            self._do(of, "DeletePolicyVersion", PolicyArn=arn, VersionId=oldest["VersionId"])
        self._version(of, arn, wanted, default=True)

    def _version(self, of: str, arn: str, document: Any, *, default: bool) -> None:
        more = {"SetAsDefault": True} if default else {}
        self._do(of, "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=_json(document), **more)

    # --- users, groups, roles: made ---

    def _make_all(self, kind: Kind) -> None:
        there = self._all(self._there, kind)
        for key, each in self._all(self._wanted, kind).items():
            name, path, of = each[f"{kind}Name"], each.get("Path") or "/", _of(kind, each)
            if key in there:
                if there[key]["Arn"] != each["Arn"]:
                    self._leave(of, "its path", f"it is {there[key]['Arn']} here, and paths do not change")
            elif _is_linked(each):
                service = path.split("/")[2]
                suffix = {"CustomSuffix": name.partition("_")[2]} if "_" in name else {}
                self._do(of, "CreateServiceLinkedRole", AWSServiceName=service, **suffix)
            elif kind == "Role":
                self._do(of, "CreateRole", RoleName=name, Path=path, AssumeRolePolicyDocument=_json(self._first(each)))
            else:
                self._do(of, f"Create{kind}", **{f"{kind}Name": name, "Path": path})

    # --- whom roles trust ---

    def _first(self, role: Wire) -> Any:
        """What it trusts at first: a principal that is named has to be there. Those it waits for come with `_trust_all`."""
        trust = role["AssumeRolePolicyDocument"]
        waits = any(":role/" in each for each in _principals(trust) if self._is_ours(each))
        return _NOBODY if waits or self._unknown(trust) else trust

    def _trust_all(self) -> None:
        there = self._all(self._there, "Role")
        for key, role in self._all(self._wanted, "Role").items():
            if _is_linked(role):
                continue
            trust = role["AssumeRolePolicyDocument"]
            unknown = self._unknown(trust)
            for principal in sorted(unknown):
                self._leave(_of("Role", role), f"its trust in {principal}", "there is no such user or role in the file")
            wanted = _without(trust, unknown)
            now = there[key]["AssumeRolePolicyDocument"] if key in there else self._first(role)
            if _normal(now) != _normal(wanted):
                self._do(_of("Role", role), "UpdateAssumeRolePolicy", RoleName=role["RoleName"],
                         PolicyDocument=_json(wanted))  # fmt: skip

    def _is_ours(self, principal: str) -> bool:
        return principal.startswith(f"arn:aws:iam::{self._here.number}:")

    def _unknown(self, trust: Any) -> frozenset[str]:
        """Users and roles of the account that will not be there."""
        known = {
            each["Arn"]
            for details in (self._wanted, self._there)
            for kind in _NAMED
            for each in self._all(details, kind).values()
        }
        named = [each for each in _principals(trust) if self._is_ours(each) and not each.endswith(":root")]
        return frozenset(each for each in named if each not in known)

    # --- what they hold ---

    def _hold(self, kind: Kind, wanted: Wire, there: Wire) -> None:
        of, named = _of(kind, wanted), {f"{kind}Name": wanted[f"{kind}Name"]}
        self._inline(of, kind, named, _inline(wanted, kind), _inline(there, kind))
        boundary = self._known(of, _boundary(wanted), "its permissions boundary")
        if boundary is not None and boundary != _boundary(there):
            self._do(of, f"Put{kind}PermissionsBoundary", **named, PermissionsBoundary=boundary)
        elif _boundary(wanted) is None and _boundary(there) is not None:
            self._do(of, f"Delete{kind}PermissionsBoundary", **named)
        attached = [self._known(of, each, f"the policy {each}") for each in _attached(wanted)]
        for arn in attached:
            if arn is not None and arn not in _attached(there):
                self._do(of, f"Attach{kind}Policy", **named, PolicyArn=arn)
        for arn in _attached(there):
            if arn not in attached:
                self._do(of, f"Detach{kind}Policy", **named, PolicyArn=arn)
        self._tags(of, kind, named, _tags(wanted), _tags(there))

    def _inline(self, of: str, kind: Kind, named: Wire, wanted: dict[str, Any], there: dict[str, Any]) -> None:
        for name, document in wanted.items():
            if there.get(name) != document:
                self._do(of, f"Put{kind}Policy", **named, PolicyName=name, PolicyDocument=_json(document))
        for name in there:
            if name not in wanted:
                self._do(of, f"Delete{kind}Policy", **named, PolicyName=name)

    def _tags(self, of: str, kind: Kind, named: Wire, wanted: dict[str, str], there: dict[str, str]) -> None:
        """Tags of AWS's own (`aws:cloudformation:stack-name`) nobody sets, here as there."""
        for key in wanted:
            if _is_aws_own(key):
                self._leave(of, f"the tag {key}", "tag keys that begin with aws: are set by AWS alone")
        wanted = {key: value for key, value in wanted.items() if not _is_aws_own(key)}
        gone = [key for key in there if key not in wanted and not _is_aws_own(key)]
        new = [{"Key": key, "Value": value} for key, value in wanted.items() if there.get(key) != value]
        if gone:
            self._do(of, f"Untag{kind}", **named, TagKeys=gone)
        if new:
            self._do(of, f"Tag{kind}", **named, Tags=new)

    def _known(self, of: str, arn: str | None, what: str) -> str | None:
        """The ARN by which a managed policy is known here. None: there is none, or it is not."""
        if arn is None or not arn.startswith(_AWS) or arn in self._here.aws_policies:
            return arn
        if arn not in self._stand_ins:
            self._leave(of, what, f"{arn} is not known here, and the file does not have it")
        return self._stand_ins.get(arn)

    def _memberships(self) -> None:
        there = self._all(self._there, "User")
        for key, user in self._all(self._wanted, "User").items():
            wanted, now = list(user.get("GroupList") or ()), list(there.get(key, {}).get("GroupList") or ())
            for operation, names in (
                ("AddUserToGroup", [each for each in wanted if each not in now]),
                ("RemoveUserFromGroup", [each for each in now if each not in wanted]),
            ):
                for name in names:
                    self._do(_of("User", user), operation, GroupName=name, UserName=user["UserName"])

    def _profiles(self) -> None:
        for role in self._all(self._wanted, "Role").values():
            for profile in role.get("InstanceProfileList") or ():
                self._profile(profile, role["RoleName"])

    def _profile(self, profile: Wire, role: str) -> None:
        name, of = profile["InstanceProfileName"], f"instance profile {profile['InstanceProfileName']}"
        there = self._here.profiles.get(name)
        if there is None:
            self._do(of, "CreateInstanceProfile", InstanceProfileName=name, Path=profile.get("Path") or "/")
        elif there["Arn"] != profile["Arn"]:
            self._leave(of, "its path", f"it is {there['Arn']} here, and paths do not change")
        now = [each["RoleName"] for each in (there or {}).get("Roles") or ()]
        if now == [role]:
            return
        for each in now:
            self._do(of, "RemoveRoleFromInstanceProfile", InstanceProfileName=name, RoleName=each)
        self._do(of, "AddRoleToInstanceProfile", InstanceProfileName=name, RoleName=role)


# --- details ---


def _with_documents(details: Wire) -> Wire:
    """All documents as objects. NoDetails."""
    try:
        opened: Wire = _opened(details)
    except (ValueError, TypeError, AttributeError) as error:
        raise NoDetails(f"a policy in it is no JSON: {error}") from error
    return opened


def _named(details: Wire) -> Wire:
    """Policies by the names in their ARNs, where a server leaves them out."""
    policies = [{"PolicyName": each["Arn"].rsplit("/", 1)[-1], **each} for each in details.get("Policies") or ()]
    return {**details, "Policies": policies}


def _opened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: document_of(each)
            if key in ("PolicyDocument", "AssumeRolePolicyDocument", "Document")
            else _opened(each)
            for key, each in value.items()
        }
    return [_opened(each) for each in value] if isinstance(value, list) else value


def _by_name(details: Wire, member: str, name: str) -> dict[str, Wire]:
    """Names are unique whatever their case."""
    return {each[name].lower(): each for each in details.get(member) or ()}


def _of(kind: Kind, each: Wire) -> str:
    return f"{kind.lower()} {each[f'{kind}Name']}"


def _is_linked(each: Wire) -> bool:
    return bool((each.get("Path") or "/").startswith(_LINKED))


def _number(version: Wire) -> int:
    return int(version["VersionId"][1:])


def _inline(each: Wire, kind: Kind) -> dict[str, Any]:
    return {policy["PolicyName"]: policy["PolicyDocument"] for policy in each.get(f"{kind}PolicyList") or ()}


def _attached(each: Wire) -> list[str]:
    return [policy["PolicyArn"] for policy in each.get("AttachedManagedPolicies") or ()]


def _boundary(each: Wire) -> str | None:
    return (each.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")


def _tags(each: Wire) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in each.get("Tags") or ()}


def _is_aws_own(tag_key: str) -> bool:
    return tag_key.lower().startswith("aws:")


# --- trust policies ---


def _principals(trust: Any) -> Iterable[str]:
    """The principals of AWS that it names."""
    for statement in listed(trust["Statement"]):
        principal = statement.get("Principal")
        if isinstance(principal, Mapping):
            yield from listed(principal.get("AWS", []))


def _without(trust: Any, unknown: frozenset[str]) -> Any:
    """The trust policy without them: a statement that names nobody else goes; where none is left, nobody is trusted."""
    statements = []
    for statement in listed(trust["Statement"]):
        principal = statement.get("Principal")
        if not isinstance(principal, Mapping) or not unknown & set(listed(principal.get("AWS", []))):
            statements.append(statement)
            continue
        left = [each for each in listed(principal["AWS"]) if each not in unknown]
        others = {key: value for key, value in principal.items() if key != "AWS"}
        if left or others:
            statements.append({**statement, "Principal": {**others, **({"AWS": left} if left else {})}})
    return {**trust, "Statement": statements} if statements else _NOBODY


def _normal(trust: Any) -> Any:
    """In one form: IAM shows an account's number as the ARN of its root, and one of a list alone."""
    statements = []
    for statement in listed(trust["Statement"]):
        principal = statement.get("Principal")
        if isinstance(principal, Mapping):
            named = {key: sorted(_as_arn(each) for each in listed(value)) for key, value in principal.items()}
            statement = {**statement, "Principal": named}
        statements.append(statement)
    return {**trust, "Statement": statements}


def _as_arn(principal: str) -> str:
    return f"arn:aws:iam::{principal}:root" if _NUMBER.fullmatch(principal) else principal


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
