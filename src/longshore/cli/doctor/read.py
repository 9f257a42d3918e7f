"""Reads an account: with AWS's public operations, through botocore, from whatever speaks them.

What may not be read is noted and passed over. What is not there is no error: that is what doctor looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.session import Session

from longshore.cli.doctor.account import (
    LINKED_ROLE,
    MANAGED,
    Account,
    Answer,
    Asked,
    Caller,
    Definition,
    Environment,
    HeldAs,
    Policy,
    Profile,
    Queue,
    Role,
    Unread,
    name_of,
)
from longshore.cli.doctor.mend import Do

_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
# A server that does not know an operation may answer in no form of AWS's at all.
FAILURES = (ClientError, BotoCoreError, ResponseParserError)
_NOT_THERE = ("NoSuchEntity", "NoSuchEntityException")
_AWS = "arn:aws:iam::aws:policy/"
_VERSIONS_MAX = 5  # IAM user guide, "IAM and AWS STS quotas": versions of a managed policy
_BATCH_LOG_GROUP = "/aws/batch/job"


class CannotLook(Exception):
    """Nothing can be looked at: no credentials, no region, nobody answers."""


class Wanted:
    """What else is looked at than what the account holds: roles of an environment or a job that are thought of."""

    def __init__(
        self,
        *,
        environments: tuple[Environment, ...] = (),
        definitions: tuple[Definition, ...] = (),
        caller: str | None = None,
    ) -> None:
        self.environments = environments
        self.definitions = definitions
        self.caller = caller  # ARN; None: who looks


def connect(*, profile: str | None = None, region: str | None = None, endpoint: str | None = None) -> Reader:
    """None: as botocore finds it, which is as the `aws` command does. CannotLook."""
    try:
        session = Session(profile=profile)
        found = region or session.get_config_variable("region")
        if not found:
            raise CannotLook("no region is set; give one with `--region`")
        clients = {
            service: session.create_client(service, region_name=found, endpoint_url=endpoint, config=_CONFIG)
            for service in ("sts", "iam", "batch")
        }
    except BotoCoreError as error:
        raise CannotLook(str(error)) from error
    return Reader(clients, found)


class Reader:
    """Looks at an account, as often as it is asked. `clients`: of botocore, by service."""

    def __init__(self, clients: Mapping[str, Any], region: str) -> None:
        self._clients = clients
        self._region = region
        self._unread: set[Unread] = set()

    # --- the account ---

    def account(self, wanted: Wanted) -> Account:
        """CannotLook."""
        self._unread = set()
        try:
            who = self._clients["sts"].get_caller_identity()
        except FAILURES as error:
            raise CannotLook(f"who asks can't be told: {said(error)}") from error
        environments = (*self._environments(), *wanted.environments)
        definitions = (*self._definitions(), *wanted.definitions)
        profiles = self._profiles(environments)
        roles = self._roles(_role_names(environments, definitions, profiles))
        return Account(
            number=who["Account"],
            region=self._region,
            caller=self._caller(wanted.caller or who["Arn"], roles),
            environments=environments,
            queues=tuple(self._queues()),
            definitions=definitions,
            profiles=profiles,
            roles=roles,
            profiles_of_roles=self._profiles_of(roles, environments, profiles),
            managed=self._managed(),
            unread=tuple(sorted(self._unread)),
        )

    def _environments(self) -> Iterable[Environment]:
        for shown in self._all("batch", "DescribeComputeEnvironments", "computeEnvironments"):
            resources = shown.get("computeResources") or {}
            yield Environment(
                name=shown["computeEnvironmentName"],
                type=shown.get("type") or "MANAGED",
                resources=resources.get("type") or "EC2",
                state=shown.get("state") or "ENABLED",
                status=shown.get("status") or "VALID",
                status_reason=shown.get("statusReason") or "",
                service_role=shown.get("serviceRole") or None,
                instance_role=resources.get("instanceRole") or None,
                spot_fleet_role=resources.get("spotIamFleetRole") or None,
                cluster=shown.get("ecsClusterArn") or None,
                is_kubernetes=bool(shown.get("eksConfiguration")),
            )

    def _queues(self) -> Iterable[Queue]:
        for shown in self._all("batch", "DescribeJobQueues", "jobQueues"):
            yield Queue(
                name=shown["jobQueueName"],
                state=shown.get("state") or "ENABLED",
                status=shown.get("status") or "VALID",
                status_reason=shown.get("statusReason") or "",
                environments=tuple(each["computeEnvironment"] for each in shown.get("computeEnvironmentOrder") or ()),
            )

    def _definitions(self) -> Iterable[Definition]:
        for shown in self._all("batch", "DescribeJobDefinitions", "jobDefinitions", status="ACTIVE"):
            yield from definitions_of(shown)

    def _profiles(self, environments: Iterable[Environment]) -> dict[str, Profile]:
        found: dict[str, Profile] = {}
        for name in sorted({name_of(each.instance_role) for each in environments if each.instance_role is not None}):
            shown = self._one("iam", "GetInstanceProfile", name, InstanceProfileName=name)
            if shown is not None:
                profile = shown["InstanceProfile"]
                roles = tuple(role["RoleName"] for role in profile.get("Roles") or ())
                found[name] = Profile(name=profile["InstanceProfileName"], arn=profile["Arn"], roles=roles)
        return found

    def _profiles_of(
        self, roles: Mapping[str, Role], environments: Iterable[Environment], profiles: Mapping[str, Profile]
    ) -> dict[str, tuple[str, ...]]:
        """Of the roles that are named where a profile is wanted."""
        found = {}
        for name in {name_of(each.instance_role) for each in environments if each.instance_role is not None}:
            if name in roles and (name not in profiles or name not in profiles[name].roles):
                shown = self._all("iam", "ListInstanceProfilesForRole", "InstanceProfiles", name, RoleName=name)
                found[name] = tuple(sorted(each["InstanceProfileName"] for each in shown))
        return found

    # --- roles, and who holds which policies ---

    def _roles(self, names: Iterable[str]) -> dict[str, Role]:
        found: dict[str, Role] = {}
        for name in sorted(set(names)):
            role = self._role(name)
            if role is not None:
                found[name] = role
        return found

    def _role(self, name: str) -> Role | None:
        shown = self._one("iam", "GetRole", name, RoleName=name)
        if shown is None:
            return None
        role = shown["Role"]
        return Role(
            name=role["RoleName"],
            arn=role["Arn"],
            trust=role["AssumeRolePolicyDocument"],
            policies=tuple(self._held("Role", name)),
            boundary=self._boundary(role),
        )

    def _held(self, kind: str, name: str, group: str | None = None) -> Iterable[Policy]:
        """Of a role, a user or a group: `kind` as IAM's operations have it in their names."""
        given = {f"{kind}Name": name}
        for policy in self._all("iam", f"List{kind}Policies", "PolicyNames", name, **given):
            found = self._one("iam", f"Get{kind}Policy", name, **given, PolicyName=policy)
            yield Policy("group" if group else "inline", policy, found["PolicyDocument"] if found else None, group)
        for attached in self._all("iam", f"ListAttached{kind}Policies", "AttachedPolicies", name, **given):
            yield self._managed_policy("group" if group else "attached", attached["PolicyArn"], group)

    def _boundary(self, shown: Mapping[str, Any]) -> Policy | None:
        arn = (shown.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
        return self._managed_policy("boundary", arn) if arn else None

    def _managed_policy(self, held_as: HeldAs, arn: str, group: str | None = None) -> Policy:
        document = self._document(arn)
        oldest = None
        if document is not None and not arn.startswith(_AWS):
            versions = self._all("iam", "ListPolicyVersions", "Versions", arn, PolicyArn=arn)
            spare = [each["VersionId"] for each in versions if not each["IsDefaultVersion"]]
            if len(versions) >= _VERSIONS_MAX:
                oldest = min(spare, key=lambda version: int(version[1:]))
        return Policy(held_as, arn, document, group, oldest)

    def _document(self, arn: str) -> dict[str, Any] | None:
        """The default version of a managed policy. None: it is not there, or may not be read."""
        shown = self._one("iam", "GetPolicy", arn, PolicyArn=arn)
        if shown is None:
            return None
        version = shown["Policy"]["DefaultVersionId"]
        found = self._one("iam", "GetPolicyVersion", arn, PolicyArn=arn, VersionId=version)
        return found["PolicyVersion"]["Document"] if found else None

    def _managed(self) -> dict[str, dict[str, Any]]:
        wanted = sorted({arn for arn in MANAGED.values() if arn is not None})
        documents = {arn: self._document(arn) for arn in wanted}
        return {arn: document for arn, document in documents.items() if document is not None}

    def _caller(self, arn: str, roles: Mapping[str, Role]) -> Caller:
        kind, _, name = arn.split(":", 5)[5].partition("/")
        if kind == "user":
            return self._user(arn, name_of(name))
        if kind in ("role", "assumed-role"):
            role_name = name_of(name) if kind == "role" else name.partition("/")[0]
            role = roles.get(role_name) or self._role(role_name)
            if role is None:
                self._note("GetRole", arn, "no such role")
                return Caller(arn=arn)
            return Caller(arn=arn, source=role.arn, policies=role.policies, boundary=role.boundary)
        if kind != "root":
            self._note("GetUser", arn, "what a principal of this kind may do is written nowhere in IAM")
        return Caller(arn=arn)

    def _user(self, arn: str, name: str) -> Caller:
        shown = self._one("iam", "GetUser", name, UserName=name)
        if shown is None:
            if not any(each.of == name for each in self._unread):
                self._note("GetUser", name, "no such user")
            return Caller(arn=arn)
        policies = list(self._held("User", name))
        for group in self._all("iam", "ListGroupsForUser", "Groups", name, UserName=name):
            policies += self._held("Group", group["GroupName"], group["GroupName"])
        user = shown["User"]
        return Caller(arn=arn, source=user["Arn"], policies=tuple(policies), boundary=self._boundary(user))

    # --- the simulator ---

    def simulate(self, asked: Iterable[Asked]) -> tuple[dict[Asked, Answer], str | None]:
        """What IAM's policy simulator says, and why it says nothing, if it does not."""
        together: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Asked]] = {}
        for one in asked:
            together.setdefault((one.source, one.resource, one.context), []).append(one)
        found: dict[Asked, Answer] = {}
        for (source, resource, context), group in together.items():
            try:
                answers = self._simulated(source, resource, context, [one.action for one in group])
            except FAILURES as error:
                if _code(error) in _NOT_THERE:
                    continue
                return {}, said(error)
            for one in group:
                if one.action.lower() in answers:
                    found[one] = answers[one.action.lower()]
        return found, None

    def _simulated(
        self, source: str, resource: str, context: tuple[tuple[str, str], ...], actions: list[str]
    ) -> dict[str, Answer]:
        client = self._clients["iam"]
        pages = client.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=source,
            ActionNames=actions,
            ResourceArns=[resource],
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
                for key, value in context
            ],
        )
        results = [each for page in pages for each in page["EvaluationResults"]]
        return {each["EvalActionName"].lower(): answer_of(each) for each in results}

    # --- mending ---

    def carry_out(self, do: Do) -> None:
        """One of FAILURES."""
        getattr(self._clients[do.service], xform_name(do.operation))(**do.parameters)

    # --- calls ---

    def _one(self, service: str, operation: str, of: str, **given: Any) -> dict[str, Any] | None:
        """None: it is not there, or could not be read, which is noted."""
        return self._asked(service, operation, of, lambda client: getattr(client, xform_name(operation))(**given))

    def _all(self, service: str, operation: str, member: str, of: str = "*", **given: Any) -> list[Any]:
        """All pages."""

        def ask(client: Any) -> dict[str, Any]:
            name = xform_name(operation)
            if not client.can_paginate(name):
                answer: dict[str, Any] = getattr(client, name)(**given)
                return answer
            result: dict[str, Any] = client.get_paginator(name).paginate(**given).build_full_result()
            return result

        answer = self._asked(service, operation, of, ask)
        return list((answer or {}).get(member) or ())

    def _asked(
        self, service: str, operation: str, of: str, ask: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any] | None:
        try:
            return ask(self._clients[service])
        except FAILURES as error:
            if _code(error) not in _NOT_THERE:
                self._unread.add(Unread(f"{service}:{operation}", of, said(error)))
            return None

    def _note(self, operation: str, of: str, because: str) -> None:
        self._unread.add(Unread(f"iam:{operation}", of, because))


def said(error: Exception) -> str:
    """What a failure tells, in one line."""
    if isinstance(error, ClientError):
        found = error.response.get("Error", {})
        return str(found.get("Message") or found.get("Code") or error)
    if isinstance(error, ResponseParserError):
        return "the answer has no form of AWS's"
    return str(error).replace("\n", " ")


def _code(error: Exception) -> str | None:
    return error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None


def _role_names(
    environments: Iterable[Environment], definitions: Iterable[Definition], profiles: Mapping[str, Profile]
) -> Iterable[str]:
    """All that are used, and those of a profile's own name: they may be the ones that were meant."""
    for environment in environments:
        yield name_of(environment.service_role or LINKED_ROLE)
        if environment.spot_fleet_role is not None:
            yield name_of(environment.spot_fleet_role)
        if environment.instance_role is not None:
            yield name_of(environment.instance_role)
    for definition in definitions:
        for arn in (definition.job_role, definition.execution_role):
            if arn is not None:
                yield name_of(arn)
    for profile in profiles.values():
        yield from profile.roles


def answer_of(result: Mapping[str, Any]) -> Answer:
    """From an EvaluationResult of the simulator."""
    decision = result["EvalDecision"]
    missing = tuple(sorted(result.get("MissingContextValues") or ()))
    if decision == "allowed":
        return Answer(True, missing=missing)
    organization = result.get("OrganizationsDecisionDetail") or {}
    boundary = result.get("PermissionsBoundaryDecisionDetail") or {}
    is_explicit = decision == "explicitDeny"
    if organization.get("AllowedByOrganizations") is False:
        return Answer(False, "organization", is_explicit, missing)
    # Of one that identity-based policies allow, a statement of theirs is told.
    allowed = any(
        each.get("SourcePolicyType") != "Permissions Boundary Policy" for each in result.get("MatchedStatements") or ()
    )
    if boundary.get("AllowedByPermissionsBoundary") is False and (is_explicit or allowed):
        return Answer(False, "boundary", is_explicit, missing)
    return Answer(False, "identity", is_explicit, missing)


def definitions_of(shown: Mapping[str, Any]) -> Iterable[Definition]:
    """Of a job definition as Batch describes it: one for each container that has roles of its own."""
    name = f"{shown['jobDefinitionName']}:{shown.get('revision', 1)}"
    is_fargate = "FARGATE" in (shown.get("platformCapabilities") or ())
    ranges = (shown.get("nodeProperties") or {}).get("nodeRangeProperties") or ()
    containers = [shown.get("containerProperties"), *(each.get("container") for each in ranges)]
    for container in containers:
        if container:
            yield _definition(
                name, is_fargate, container, container.get("jobRoleArn"), container.get("executionRoleArn")
            )
    groups = [shown.get("ecsProperties"), *(each.get("ecsProperties") for each in ranges)]
    for group in groups:
        for task in (group or {}).get("taskProperties") or ():
            for container in task.get("containers") or ():
                yield _definition(name, is_fargate, container, task.get("taskRoleArn"), task.get("executionRoleArn"))


def _definition(
    name: str, is_fargate: bool, container: Mapping[str, Any], job_role: str | None, execution_role: str | None
) -> Definition:
    log = container.get("logConfiguration") or {"logDriver": "awslogs"}
    group = (log.get("options") or {}).get("awslogs-group", _BATCH_LOG_GROUP)
    return Definition(
        name=name,
        job_role=job_role or None,
        execution_role=execution_role or None,
        image=container.get("image") or "",
        log_group=group if log.get("logDriver") == "awslogs" else None,
        secrets=tuple(each["valueFrom"] for each in container.get("secrets") or ()),
        is_fargate=is_fargate,
    )
