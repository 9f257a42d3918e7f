"""The room of ECS alone, on virtual time: its operations and streams, with doors to the others that say yes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import botocore.session
import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from longshore.aws import model as models
from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids
from longshore.aws.principal import Principal, root
from longshore.aws.wire import codec
from longshore.aws.wire.http import HttpRequest
from longshore.kit.call import Call
from longshore.kit.event import Event
from longshore.kit.house import House, Turn
from longshore.kit.sealing import IdentityDocuments, Sealer, new_identity_document_key
from longshore.services.ecs.service import SERVICE
from longshore.settings import Settings
from longshore.store.engine import open_store
from virtual_time import VirtualClock, VirtualLoop

ACCOUNT = "123456789012"
IDENTITY_KEY = new_identity_document_key()


class Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


class Counter:
    """Randomness that is none: every identifier differs."""

    def __init__(self) -> None:
        self._count = 0

    def random_bytes(self, count: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(count, "big") if count >= 4 else bytes([self._count % 256] * count)


class Yes:
    allowed = True


class Authorizer:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refuses: set[str] = set()

    def decide(self, call: Call, question: Any) -> Any:
        return Yes()

    def require(self, call: Call, question: Any) -> None:
        self.asked.append((question.action, question.resource))
        if question.action in self.refuses:
            raise AwsError("AccessDeniedException", f"not authorized to perform: {question.action}")

    def assume(
        self, call: Call, role_arn: str, service: str, *, session_name: str | None = None, source_arn: str | None = None
    ) -> Principal:
        raise NotImplementedError


class Peers:
    """Of the other rooms only sts.AssumeRole is needed."""

    def __init__(self) -> None:
        self.refused_roles: set[str] = set()
        self.count = 0

    def call(self, call: Call, service: str, operation: str, request: dict[str, Any], as_: Principal) -> Any:
        assert (service, operation, as_.arn) == ("sts", "AssumeRole", "ecs-tasks.amazonaws.com")
        assert call.transaction.writable
        if request["RoleArn"] in self.refused_roles:
            raise AwsError("AccessDenied", "no trust")
        self.count += 1
        return {
            "Credentials": {
                "AccessKeyId": f"ASIA{self.count:016}",
                "SecretAccessKey": "secret",
                "SessionToken": "token",
                "Expiration": call.now + timedelta(hours=1),
            }
        }


class Outbox:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def hears(self, detail_type: str, facts: Any = None) -> bool:
        return True

    def append(self, transaction: Any, event: Event) -> None:
        msgspec.json.encode(event)  # It must be possible to keep it.
        self.events.append(event)


class Socket:
    """A stream of an agent that the test holds by its other end."""

    def __init__(self, room: Room, principal: Principal, query: dict[str, str]) -> None:
        self.house = room.house
        self.turn = Turn(room.house, "ecs", principal, "us-east-1", "http://127.0.0.1:4570")
        self.query = query
        self.inbox: asyncio.Queue[str | None] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self.allowed = True  # what the policies say

    def is_allowed(self) -> bool:
        return self.allowed

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def receive(self) -> str | None:
        return None if self.closed else await self.inbox.get()

    async def close(self, code: int = 1000) -> None:
        self.closed = True

    def say(self, kind: str, message: dict[str, Any]) -> None:
        self.inbox.put_nowait(json.dumps({"type": kind, "message": message}))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each["message"] for each in self.sent if each["type"] == kind]


class Room:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.house = House(
            settings=Settings(account=ACCOUNT),
            store=open_store(None),
            clock=self.clock,
            ids=Ids(Counter()),
            sealer=Sealer(bytes(32)),
            identity_documents=IdentityDocuments(IDENTITY_KEY),
        )
        self.authorizer, self.peers, self.outbox = Authorizer(), Peers(), Outbox()
        self.house.authorizer = self.authorizer
        self.house.peers = self.peers
        self.house.outbox = self.outbox
        self.root = root(ACCOUNT)
        self.tasks: list[asyncio.Task[None]] = []

    def agent(self, instance_id: str = "i-0123456789abcdef0", account: str = ACCOUNT) -> Principal:
        """The session that the metadata service gives out on an instance."""
        return Principal(
            kind="assumed-role",
            account=account,
            arn=f"arn:aws:sts::{account}:assumed-role/ecsInstanceRole/{instance_id}",
            user_id=f"AROA:{instance_id}",
            role_arn=f"arn:aws:iam::{account}:role/ecsInstanceRole",
            session_name=instance_id,
            assumed_by="ec2.amazonaws.com",
            source_instance_arn=f"arn:aws:ec2:us-east-1:{account}:instance/{instance_id}",
        )

    def call(self, name: str, request: dict[str, Any] | None = None, as_: Principal | None = None) -> dict[str, Any]:
        """One operation, its questions asked, as the gateway runs it."""
        found = SERVICE.operation(name)
        assert found is not None
        request = request or {}

        def run(transaction: Any) -> dict[str, Any]:
            call = Call(
                house=self.house, service="ecs", operation=name, principal=as_ or self.root, region="us-east-1",
                transaction=transaction, now=self.clock.now(), request_id="r", endpoint="http://127.0.0.1:4570",
            )  # fmt: skip
            row = SERVICE.access[name]
            for resource in row.resources(call, request) if row.resources else ["*"]:
                self.authorizer.asked.append((f"ecs:{name}", resource))
            if row.context:
                row.context(call, request)
            for question in row.further(call, request):
                self.authorizer.require(call, question)
            return found.handler(call, request)

        async def write() -> dict[str, Any]:
            return await self.house.store.write(run)

        answer = self.loop.run_until_complete(write()) if found.writes else self.house.store.read(run)
        # Strict: an answer with a member that the service model does not know is an error.
        codec.serialize(models.model("ecs").operations[name], answer, "r", strict=True)
        self.turn()
        return answer

    def client(self) -> Any:
        """An unmodified botocore client, whose requests end here in place of a socket."""
        client = botocore.session.get_session().create_client(
            "ecs",
            region_name="us-east-1",
            endpoint_url="http://127.0.0.1:4570",
            aws_access_key_id="AKIA",
            aws_secret_access_key="secret",
            config=Config(retries={"max_attempts": 0}),
        )
        client.meta.events.register("before-send.*.*", self._answer)
        return client

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        service = models.model("ecs")
        form = service.operations[headers["x-amz-target"].partition(".")[2]]
        body = request.body.encode() if isinstance(request.body, str) else bytes(request.body)
        sent = HttpRequest(method="POST", path="/", query_string="", headers=headers, body=body, source_ip="127.0.0.1")
        try:
            answer = codec.serialize(form, self.call(form.name, codec.parse(form, sent)), "r", strict=True)
        except AwsError as error:
            answer = codec.serialize_error(service, form, error, "r")
        return AWSResponse(request.url, answer.status, dict(answer.headers), Raw(answer.body))

    def document(self, instance_id: str, account: str = ACCOUNT) -> tuple[str, str]:
        text = json.dumps(
            {
                "instanceId": instance_id, "accountId": account, "region": "us-east-1", "instanceType": "m5.large",
                "availabilityZone": "us-east-1a", "imageId": "ami-1", "version": "2017-09-30", "pendingTime": "x",
            }
        )  # fmt: skip
        return text, self.house.identity_documents.sign(text)

    def register(self, instance_id: str = "i-0123456789abcdef0", cluster: str = "demo", **more: Any) -> dict[str, Any]:
        """An agent registers, as captured."""
        document, signature = self.document(instance_id)
        request = {
            "cluster": cluster,
            "instanceIdentityDocument": document,
            "instanceIdentityDocumentSignature": signature,
            "attributes": [
                {"name": "stack", "value": "test"},
                {"name": "ecs.capability.full-sync"},
                {"name": "com.amazonaws.ecs.capability.logging-driver.awslogs"},
                {"name": "com.amazonaws.ecs.capability.task-iam-role"},
                {"name": "com.amazonaws.ecs.capability.task-iam-role-network-host"},
                {"name": "ecs.capability.execution-role-awslogs"},
                {"name": "ecs.os-type", "value": "linux"},
            ],
            "totalResources": [
                {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
                {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096},
                {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "51678"]},
                {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
            ],
            **more,
        }
        answer = self.call("RegisterContainerInstance", request, self.agent(instance_id))["containerInstance"]
        assert isinstance(answer, dict)
        return answer

    def open(
        self, arn: str, instance_id: str = "i-0123456789abcdef0", cluster: str = "demo", path: str = "/acs/ws",
        allowed: bool = True,
    ) -> Socket:  # fmt: skip
        """Opens a stream as the agent of the instance; AwsError as its handshake would be refused.

        `allowed` False: its role's policy was changed just after the handshake was let in.
        """
        (stream,) = [each for each in SERVICE.streams if each.path == path]
        query = {
            "agentHash": "a8b3e7d3", "agentVersion": "1.105.1", "clusterArn": cluster, "containerInstanceArn": arn,
            "dockerVersion": "DockerVersion: 20.10.24+dfsg1", "protocolVersion": "2", "sendCredentials": "true",
            "seqNum": "1", "cluster": cluster, "containerInstance": arn,
        }  # fmt: skip
        socket = Socket(self, self.agent(instance_id), query)
        socket.allowed = allowed
        row = SERVICE.access[stream.action.partition(":")[2]]

        def admit(transaction: Any) -> None:
            call = socket.turn.call(transaction)
            assert row.resources is not None
            list(row.resources(call, query))
            list(row.further(call, query))

        self.house.store.read(admit)
        self.tasks.append(self.loop.create_task(stream.handler(socket)))
        self.turn()
        return socket

    def joined(self, instance_id: str = "i-0123456789abcdef0") -> tuple[str, Socket]:
        """A cluster `demo` with one connected instance."""
        self.call("CreateCluster", {"clusterName": "demo"})
        arn = self.register(instance_id)["containerInstanceArn"]
        return arn, self.open(arn, instance_id)

    def define(self, **more: Any) -> str:
        container = {
            "name": "main",
            "image": "busybox:local",
            "command": ["sh", "-c", "exit 3"],
            "cpu": 128,
            "memory": 64,
        }
        request = {"family": "fam", "containerDefinitions": [{**container, **more.pop("container", {})}], **more}
        arn = self.call("RegisterTaskDefinition", request)["taskDefinition"]["taskDefinitionArn"]
        assert isinstance(arn, str)
        return arn

    def turn(self, seconds: float = 0.001) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def events(self, detail_type: str) -> list[dict[str, Any]]:
        return [event.detail for event in self.outbox.events if event.detail_type == detail_type]

    def hear(self, event: Event) -> None:
        turn = self.house.turn("ecs")
        reaction: Callable[..., None] = SERVICE.subscriptions[event.detail_type]

        async def write() -> None:
            await turn.write(lambda call: reaction(call, event))

        self.loop.run_until_complete(write())
        self.turn()

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.house.store.close()
        self.loop.close()


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.close()
