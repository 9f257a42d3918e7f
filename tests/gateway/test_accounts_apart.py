"""One account never sees another's things, nor touches them: every operation that is offered, asked with another's names.

Account A has something of everything. Its strings are gathered as A's own clients see them; then B, which may do
everything in its own account, puts each of them into each place of each request. What B is answered must not hold anything
of A's that B did not send, and must be the same as for a name that nobody has. New operations are covered by themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select

from accounts import Account, ask
from batch_house import BatchHouse
from in_process import ACCOUNT, ENDPOINT, REGION, InProcessHouse, _session
from in_process import ROOT as ROOT_KEY
from longshore.aws.errors import AwsError
from longshore.aws.ids import account_of_access_key
from longshore.aws.principal import Principal, root
from longshore.kit.call import Call
from longshore.server.assemble import SERVICES
from longshore.store.engine import Transaction
from longshore.store.statement import METADATA, Statement
from people import Person, allow, document, trust

OTHER = "222222222222"
NUMBER = 7  # where a request wants one
ROOT = root(OTHER, "AKIABBBBBBBBBBBBBBBB")
_DEPTH = 4
# The parts of a text by which a thing is known.
_ATOM = re.compile(
    r"[a-z-]+-of-a|\b\d{12}\b|\b[a-z-]+-[0-9a-f]{17}\b|\bA(?:IDA|ROA|IPA|NPA|KIA|GPA)[A-Z2-7]{16,17}\b"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{32}\b"
)


class Undone(Exception):
    """Ends a transaction of which nothing is to be kept."""


class Neighbours:
    """A with something of everything, B with nothing, and what only A's requests show."""

    def __init__(self, house: InProcessHouse) -> None:
        self.house = house
        other = Account(house, OTHER)
        bob = Person(house, "bob", iam=other.client("iam"))
        bob.may(allow("*"))
        self.admin = Principal(
            kind="user", account=OTHER, arn=bob.arn, user_id=bob.user["UserId"], user_name="bob",
            access_key_id=bob.key["AccessKeyId"],
        )  # fmt: skip
        self.bob = bob
        everyday = {atom for text in seen_by(house, ROOT, []) for atom in _ATOM.findall(text)}
        furnish(house)
        first = root(ACCOUNT, ROOT_KEY.access_key_id)
        bare = seen_by(house, first, [])
        known = {text for text in bare if _ATOM.search(text) and _is_name(text)}
        told = {text for text in bare | seen_by(house, first, sorted(known)) if "federated-user" not in text}
        # What only A has: ids, and names that say so.
        self.atoms = {atom for text in told for atom in _ATOM.findall(text)} - everyday - {OTHER}
        self.marks = {text for text in told if _is_name(text) and self.atoms.intersection(_ATOM.findall(text))}
        self.sent = two_of_each(self.marks | self.atoms)

    def told_to(
        self, transaction: Transaction, who: Principal, service: str, *, writes: bool, undone: bool
    ) -> Iterator[tuple[str, Any, str, Any]]:
        """(operation, request, text of A in it, the answer). `undone`: nothing of it stays."""
        for _, operation in operations(service, writes=writes):
            for text in self.sent:
                for request in requests(service, operation, text):
                    answered = answer(self.house, transaction, who, service, operation, request, undone=undone)
                    yield operation, request, text, answered

    def differences(self, transaction: Transaction, who: Principal, service: str, *, writes: bool) -> list[Any]:
        """Where the answer for a thing of A is not that for a thing of nobody: so B would learn that it is there.

        Nowhere does an answer hold what is A's and was not sent.
        """
        found: list[Any] = []
        for operation, request, text, answered in self.told_to(transaction, who, service, writes=writes, undone=writes):
            told = {atom for leaf in leaves(answered) for atom in _ATOM.findall(leaf)}
            # The id of a key tells its account by itself: GetAccessKeyInfo reads it out, as AWS's does.
            leaked = {atom for atom in told & self.atoms if atom not in text and atom != account_of_access_key(text)}
            assert not leaked, (operation, request, answered)
            strange = _ATOM.sub(lambda match: _stranger(match.group()), text)
            other = _exchanged(request, text, strange)
            of_nobody = answer(self.house, transaction, who, service, operation, other, undone=writes)
            if _outcome(answered) != _outcome(of_nobody, strange, text):
                found.append((operation, request, answered, of_nobody))
        return found


def two_of_each(texts: set[str]) -> list[str]:
    """Of those that differ in their ids alone, the first two."""
    kinds: dict[str, list[str]] = {}
    for text in sorted(texts):
        kinds.setdefault(re.sub(r"[0-9a-f]{8,}|(?<=\bA[A-Z]{3})[A-Z2-7]+|\d+", "", text), []).append(text)
    return [text for kind in kinds.values() for text in kind[:2]]


def _exchanged(value: Any, text: str, other: str) -> Any:
    if isinstance(value, dict):
        return {key: _exchanged(inner, text, other) for key, inner in value.items()}
    if isinstance(value, list):
        return [_exchanged(inner, text, other) for inner in value]
    return other if value == text else value


def furnish(house: InProcessHouse) -> None:
    """Something of everything in account A."""
    iam, ecs, logs, ec2, batch = (house.client(name) for name in ("iam", "ecs", "logs", "ec2", "batch"))
    anna = Person(house, "anna-of-a", Tags=[{"Key": "key-of-a", "Value": "value-of-a"}])
    policy = iam.create_policy(
        PolicyName="policy-of-a",
        Path="/path-of-a/",
        PolicyDocument=document(allow("s3:Get*", "arn:aws:s3:::bucket-of-a/*")),
    )["Policy"]["Arn"]
    anna.may(allow("iam:GetUser"), name="inline-of-a")
    iam.create_role(RoleName="role-of-a", AssumeRolePolicyDocument=trust({"AWS": anna.arn}), PermissionsBoundary=policy)
    iam.put_role_policy(RoleName="role-of-a", PolicyName="inline-of-a", PolicyDocument=document(allow("s3:*")))
    iam.attach_role_policy(RoleName="role-of-a", PolicyArn=policy)
    _if_offered(iam, "create_group", GroupName="group-of-a")
    _if_offered(iam, "add_user_to_group", GroupName="group-of-a", UserName="anna-of-a")
    of_batch = BatchHouse(house)
    of_batch.role("instance-role-of-a")
    of_batch.profile("profile-of-a", "instance-role-of-a")
    of_batch.environment("environment-of-a", instanceRole="profile-of-a", tags={"key-of-a": "value-of-a"})
    of_batch.queue("queue-of-a", "environment-of-a", tags={"key-of-a": "value-of-a"})
    of_batch.define("definition-of-a")
    job_id = of_batch.submit(
        queue="queue-of-a", definition="definition-of-a", script={"LOG": "line-of-a"}, tags={"key-of-a": "value-of-a"}
    )
    of_batch.until(job_id, "SUCCEEDED")
    waiting = of_batch.submit(queue="queue-of-a", definition="definition-of-a", script={"RUN_SECONDS": "100000"})
    of_batch.until(waiting, "RUNNING")
    ecs.create_cluster(clusterName="cluster-of-a", tags=[{"key": "key-of-a", "value": "value-of-a"}])
    ecs.register_task_definition(
        family="family-of-a", containerDefinitions=[{"name": "container-of-a", "image": "busybox:local", "memory": 64}]
    )
    logs.create_log_group(logGroupName="group-of-logs-of-a", tags={"key-of-a": "value-of-a"})
    logs.create_log_stream(logGroupName="group-of-logs-of-a", logStreamName="stream-of-a")
    logs.put_log_events(
        logGroupName="group-of-logs-of-a",
        logStreamName="stream-of-a",
        logEvents=[{"timestamp": int(house.clock.now().timestamp() * 1000), "message": "message-of-a"}],
    )
    group = ec2.create_security_group(GroupName="security-of-a", Description="description-of-a")["GroupId"]
    ec2.create_tags(Resources=[group], Tags=[{"Key": "key-of-a", "Value": "value-of-a"}])
    assert batch.describe_jobs(jobs=[job_id])["jobs"]


def _if_offered(client: Any, method: str, **request: Any) -> None:
    try:
        getattr(client, method)(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidAction":
            raise


def _stranger(atom: str) -> str:
    """An id or name of the same form that nobody has; A's number stays: strange things are A's as well."""
    if atom == ACCOUNT:
        return atom
    letter = atom[-1]
    if letter.isdigit():
        return atom[:-1] + str((int(letter) + 1) % 10)
    first, second = "AB" if letter.isupper() else "ab"
    return atom[:-1] + (second if letter == first else first)


def _outcome(answered: Any, sent: str = "", instead: str = "") -> Any:
    """A refusal with its text, as if `instead` had been sent; of an answer the members only: ids and times are new."""
    if isinstance(answered, dict):
        return sorted(answered)
    code, message = answered
    return code, message.replace(sent, instead) if sent else message


def _is_name(text: str) -> bool:
    """Whether it names a thing: no number, no time, no sentence, no document."""
    return len(text) <= 256 and not any(letter in text for letter in ' {\n"') and not text.replace(".", "").isdigit()


# What is asked ----------------------------------------------------------------------------------------------------------


def operations(*services: str, writes: bool) -> list[tuple[str, str]]:
    """(service, operation of the model) of all that is offered."""
    found = []
    for name in services or SERVICES:
        offered = SERVICES[name].operations
        for operation in _session().get_service_model(name).operation_names:
            if operation.lower() in offered and offered[operation.lower()].writes is writes:
                found.append((name, operation))
    return found


def requests(service: str, operation: str, text: str) -> Iterator[dict[str, Any]]:
    """Requests of the right form that hold `text` in one place, for every place; what else is required is made up."""
    shape = _session().get_service_model(service).operation_model(operation).input_shape
    if shape is None:
        return
    for name, member in shape.members.items():
        for value in _holding(member, text, _DEPTH):
            yield {**_filler(shape, text, _DEPTH), name: value}


def _holding(shape: Any, text: str, depth: int) -> Iterator[Any]:
    if shape.type_name == "string":
        if not shape.enum:
            yield text
    elif depth and shape.type_name == "list":
        for value in _holding(shape.member, text, depth - 1):
            yield [value]
    elif depth and shape.type_name == "map":
        for value in _holding(shape.value, text, depth - 1):
            yield {"key": value}
    elif depth and shape.type_name == "structure":
        for name, member in shape.members.items():
            for value in _holding(member, text, depth - 1):
                yield {**_filler(shape, text, depth - 1), name: value}


def _filler(shape: Any, text: str, depth: int) -> dict[str, Any]:
    return {name: _made_up(shape.members[name], text, depth) for name in shape.required_members}


def _made_up(shape: Any, text: str, depth: int) -> Any:
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else text
    if shape.type_name == "list":
        return [_made_up(shape.member, text, depth - 1)] if depth else []
    if shape.type_name == "structure":
        return _filler(shape, text, depth - 1) if depth else {}
    if shape.type_name == "map":
        return {"key": _made_up(shape.value, text, depth - 1)} if depth else {}
    if shape.type_name == "timestamp":
        return datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    return {"boolean": True, "blob": b"", "double": 1.5, "float": 1.5}.get(shape.type_name, NUMBER)


# What is answered -------------------------------------------------------------------------------------------------------


def answer(
    house: InProcessHouse,
    transaction: Transaction,
    who: Principal,
    service: str,
    operation: str,
    request: dict[str, Any],
    *,
    undone: bool = False,
) -> Any:
    """The answer; of a refusal, code and text."""
    call = Call(
        house=house.house,
        service=service,
        operation=operation,
        principal=who,
        region=REGION,
        transaction=transaction,
        now=house.clock.now(),
        request_id="request",
        endpoint=ENDPOINT,
    )
    found = house.assembly.dispatcher.operation(service, operation)

    def run() -> Any:
        answered = house.assembly.dispatcher.run(call, found, request)
        if undone:
            raise Undone(answered)
        return answered

    try:
        return transaction.savepoint(run)
    except Undone as ended:
        return ended.args[0]
    except AwsError as error:
        return error.code, error.message


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner)
    elif isinstance(value, str):
        yield value


def seen_by(house: InProcessHouse, who: Principal, texts: list[str]) -> set[str]:
    """All strings of all answers to what `who` asks: bare, and with each of the texts in each place."""

    def look(transaction: Transaction) -> set[str]:
        found: set[str] = set()
        for service, operation in operations(writes=False):
            for request in ({}, *(each for text in texts for each in requests(service, operation, text))):
                answered = answer(house, transaction, who, service, operation, request)
                if isinstance(answered, dict):
                    found.update(leaves(answered))
        return found

    return house.store.read(look)


@pytest.fixture(scope="module")
def neighbours() -> Iterator[Neighbours]:
    house = InProcessHouse()
    yield Neighbours(house)
    house.close()


@pytest.fixture(scope="module")
def house(neighbours: Neighbours) -> InProcessHouse:
    return neighbours.house


def test_it_asks_with_something_of_every_kind(neighbours: Neighbours) -> None:
    kinds = {re.sub(r"[0-9a-f]{17}$|^(A[A-Z]{3}).*", r"\1", text) for text in neighbours.marks}
    assert {"i-", "sg-", "subnet-", "vpc-", "eni-", "r-", "AIDA", "AROA", "AIPA", "ANPA", "AKIA"} <= kinds
    arns = {tuple(text.split(":")[2:6:3]) for text in neighbours.marks if text.startswith("arn:")}
    assert {service for service, _ in arns} >= {"iam", "ec2", "ecs", "batch", "logs"}
    assert {"job-queue/queue-of-a", "cluster/cluster-of-a", "role/role-of-a"} <= {what for _, what in arns}


@pytest.mark.parametrize("who", ["root", "admin"])
@pytest.mark.parametrize("service", list(SERVICES))
def test_what_another_account_has_is_not_seen(neighbours: Neighbours, service: str, who: str) -> None:
    principal = ROOT if who == "root" else neighbours.admin

    def look(transaction: Transaction) -> list[Any]:
        return neighbours.differences(transaction, principal, service, writes=False)

    assert neighbours.house.store.read(look) == []


@pytest.mark.long
@pytest.mark.parametrize("service", list(SERVICES))
def test_whether_another_account_has_it_is_not_told_by_what_is_tried(neighbours: Neighbours, service: str) -> None:
    def act(transaction: Transaction) -> None:
        raise Undone(neighbours.differences(transaction, neighbours.admin, service, writes=True))

    with pytest.raises(Undone) as ended:
        neighbours.house.store.write_now(act)
    assert ended.value.args == ([],)


@pytest.mark.parametrize("service", list(SERVICES))
def test_what_another_account_has_is_not_touched(neighbours: Neighbours, service: str) -> None:
    def act(transaction: Transaction) -> None:
        before = rows(transaction)
        for _ in neighbours.told_to(transaction, neighbours.admin, service, writes=True, undone=False):
            pass
        raise Undone([row for row in before - rows(transaction) if OTHER not in row])

    with pytest.raises(Undone) as ended:
        neighbours.house.store.write_now(act)
    assert ended.value.args == ([],)


def test_why_a_job_waits_is_told_to_its_account_alone(neighbours: Neighbours) -> None:
    house = neighbours.house
    jobs = house.client("batch").list_jobs(jobQueue="queue-of-a", jobStatus="RUNNING")["jobSummaryList"]
    (job_id,) = [job["jobId"] for job in jobs]
    key = neighbours.bob.key
    theirs = (key["AccessKeyId"], key["SecretAccessKey"], None)
    assert ask(house, "GET", f"/_longshore/explain/{job_id}")[0] == 200
    of_nobody = "0" * 8 + job_id[8:]
    seen = ask(house, "GET", f"/_longshore/explain/{job_id}", key=theirs)
    assert seen[0] >= 400
    status, answer = ask(house, "GET", f"/_longshore/explain/{of_nobody}", key=theirs)
    assert seen == (status, json.loads(json.dumps(answer).replace(of_nobody, job_id)))


def rows(transaction: Transaction) -> set[str]:
    """All that is kept, a text each."""
    return {
        f"{table.name} {row}" for table in METADATA.sorted_tables for row in transaction.all(Statement(select(table)))
    }
