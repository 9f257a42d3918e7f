"""The agent's standing with ECS: it registers its instance, then keeps its two streams open and answers what comes.

Source: amazon-ecs-agent's `agent/api/ecsclient`, `ecs-agent/acs/session`, `ecs-agent/tcs`, as captured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from longshore.agent import protocol
from longshore.agent.config import AgentConfig
from longshore.agent.engine import Engine
from longshore.agent.identity import Api, Instance, InstanceRole, NoCredentials, is_transient
from longshore.agent.protocol import Frame, RoleCredentials
from longshore.agent.shelf import Shelf
from longshore.agent.transport import Credentials, Stream, StreamRefused, Transport, TransportError
from longshore.aws.clock import Clock
from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids
from longshore.aws.sigv4 import sign

RESTART = 1  # the status that asks for a new start
FINAL = 5  # a new start would find the same

_REGISTRATION = "agent/registration"
_REGISTER_SECONDS = 3600.0
# The original waits 3 to 192 seconds between registrations that found no answer, and up to two minutes between streams, to
# spare AWS. Here an agent comes back soon after its server does, and sooner after a person has mended its role.
_UNANSWERED: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
_REFUSED: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 5.0)
_DEREGISTERED_SECONDS = 3600.0  # InactiveInstanceException: only an operator's deregistration is answered so
_SILENCE_SECONDS = (60.0, 120.0)  # a stream on which nothing comes for so long is taken for dead
_AGE_SECONDS = (1800.0, 2100.0)  # after which the agent leaves a stream and opens the next
# Payloads that the agent has not acknowledged follow a manifest at once, on the same stream. What it named and is unknown
# after so long was known to an agent of before, which has not written it down, or whose shelf was set back.
_LOST_SECONDS = 60.0
_ENDPOINTS_SECONDS = 12 * 3600.0


class AgentEnded(Exception):
    """The agent can't go on. `status` is that of its process."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Registration(Struct, frozen=True, kw_only=True):
    cluster: str  # as configured
    container_instance_arn: str
    instance_id: str


def kept_registration(shelf: Shelf) -> Registration | None:
    kept = shelf.get(_REGISTRATION)
    return msgspec.json.decode(kept, type=Registration) if kept is not None else None


async def register(
    config: AgentConfig, instance: Instance, api: Api, shelf: Shelf, ids: Ids, say: Callable[[str], None]
) -> str:
    """The container instance's ARN. AgentEnded."""
    kept = kept_registration(shelf)
    if kept is not None and kept.cluster != config.cluster:
        raise AgentEnded(FINAL, f"data mismatch: the instance was in cluster `{kept.cluster}`, not `{config.cluster}`")
    arn = kept.container_instance_arn if kept is not None else None
    sent = protocol.attributes(config, instance.attributes, is_known=arn is not None)
    request = protocol.registration(
        config, document=instance.document, signature=instance.signature, sent=sent, arn=arn, token=ids.uuid()
    )
    found = await _registered(config, api, request, say)
    refused = protocol.unanswered_attribute(sent, found.get("attributes") or [])
    if refused is not None:
        raise AgentEnded(FINAL, f"the attribute {refused} was not taken as it was sent")
    arn = str(found["containerInstanceArn"])
    registration = Registration(cluster=config.cluster, container_instance_arn=arn, instance_id=instance.instance_id)
    shelf.put(_REGISTRATION, msgspec.json.encode(registration))
    return arn


async def _registered(
    config: AgentConfig, api: Api, request: dict[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _REGISTER_SECONDS
    attempt, has_made_cluster = 0, False
    while True:
        try:
            answer = await api.call("ecs", "RegisterContainerInstance", request)
            found: dict[str, Any] = answer["containerInstance"]
            return found
        except NoCredentials as error:
            raise AgentEnded(RESTART, str(error)) from error
        except (AwsError, TransportError) as error:
            text = f"Unable to register as a container instance with ECS: {error}"
            if is_transient(error) and loop.time() < give_up_at:
                say(text)
            elif isinstance(error, AwsError) and error.code == "ClusterNotFoundException" and not config.cluster:
                if has_made_cluster:
                    raise AgentEnded(RESTART, text) from error
                await _make_cluster(api, str(request["cluster"]))
                has_made_cluster = True
                continue
            elif isinstance(error, AwsError) and error.code in ("InvalidParameterException", "ClientException"):
                raise AgentEnded(FINAL, text) from error
            else:
                raise AgentEnded(RESTART, text) from error
        await asyncio.sleep(_UNANSWERED[min(attempt, len(_UNANSWERED) - 1)])
        attempt += 1


async def _make_cluster(api: Api, name: str) -> None:
    try:
        await api.call("ecs", "CreateCluster", {"clusterName": name})
    except (AwsError, NoCredentials, TransportError) as error:
        raise AgentEnded(RESTART, f"Unable to create the cluster {name}: {error}") from error


class Session:
    """Keeps the streams of a registered instance."""

    def __init__(
        self,
        *,
        config: AgentConfig,
        arn: str,
        engine: Engine,
        api: Api,
        role: InstanceRole,
        transport: Transport,
        clock: Clock,
        ids: Ids,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._arn = arn
        self._engine = engine
        self._api = api
        self._role = role
        self._transport = transport
        self._clock = clock
        self._ids = ids
        self._say = say
        self._endpoints: tuple[str, str] = ("", "")
        self._endpoints_until = 0.0
        self._discovering = asyncio.Lock()
        self._has_polled = False  # whether a stream of this process was open before
        self._doubts: asyncio.TimerHandle | None = None  # about tasks that the manifest named and nobody here knows
        self._timeline = 0  # the greatest number that payloads and manifests of this stream have had

    @property
    def _cluster(self) -> str:
        return self._config.cluster or "default"

    async def poll(self) -> None:
        """The stream of tasks. Never returns."""
        await self._keep("ACS", self._open_poll, self._listen)

    async def telemetry(self) -> None:
        """The stream of measurements. Never returns."""
        await self._keep("TCS", self._open_telemetry, self._measure)

    async def _keep(self, name: str, connect: Callable[[], Any], use: Callable[[Stream], Any]) -> None:
        """Opens the stream again whenever it has ended: at once if it was of use, else after growing pauses."""
        attempt, said = 0, ""
        while True:
            pauses = _UNANSWERED
            try:
                stream: Stream = await connect()
                if said or not attempt:
                    self._say(f"{name} stream open")
                said = ""
                try:
                    was_of_use = await use(stream)
                finally:
                    await stream.close()
                attempt = 0 if was_of_use else attempt + 1
            except (AwsError, NoCredentials, StreamRefused, TransportError) as error:
                if str(error) != said:
                    said = str(error)
                    self._say(f"{name} stream: {error}")
                if isinstance(error, StreamRefused) and error.code == "InactiveInstanceException":
                    pauses = (_DEREGISTERED_SECONDS,)
                elif not is_transient(error):
                    pauses = _REFUSED
                attempt += 1
                self._endpoints_until = 0.0  # The server may have moved.
            await asyncio.sleep(self._spread(pauses[min(max(attempt - 1, 0), len(pauses) - 1)]))

    def _spread(self, pause: float) -> float:
        """Up to a fifth more, so that agents that lost one server do not come back in step."""
        return pause * (1 + int(self._ids.hex(2), 16) / 255 / 5)

    def _between(self, bounds: tuple[float, float]) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * int(self._ids.hex(2), 16) / 255

    async def _open_poll(self) -> Stream:
        endpoint, _ = await self._discover()
        query = protocol.poll_query(cluster=self._cluster, arn=self._arn, sends_credentials=not self._has_polled)
        stream = await self._open(f"{endpoint}/ws", query)
        self._has_polled = True
        return stream

    async def _open_telemetry(self) -> Stream:
        _, endpoint = await self._discover()
        return await self._open(f"{endpoint}/ws", protocol.telemetry_query(cluster=self._cluster, arn=self._arn))

    async def _open(self, url: str, query: Mapping[str, str]) -> Stream:
        held = await self._role.credentials()
        try:
            return await self._transport.open_stream(url, "ecs", held, query)
        except StreamRefused:
            # Whatever the reason is: the next session that the metadata service gives may be of a mended role.
            self._role.forget(held)
            raise

    async def _discover(self) -> tuple[str, str]:
        """(of tasks, of telemetry), kept for 12 hours or till a stream can't be opened."""
        async with self._discovering:
            now = asyncio.get_running_loop().time()
            if now >= self._endpoints_until:
                request = {"cluster": self._cluster, "containerInstance": self._arn, "zoneId": ""}
                found = await self._api.call("ecs", "DiscoverPollEndpoint", request)
                self._endpoints = (str(found["endpoint"]), str(found["telemetryEndpoint"]))
                self._endpoints_until = now + _ENDPOINTS_SECONDS
            return self._endpoints

    # The stream of tasks.

    async def _listen(self, stream: Stream) -> bool:
        """Returns when the stream has ended; whether anything came on it."""
        # Within a stream all comes in order, and what comes on this one is younger than what came on the one before, though the
        # server, whose numbers follow its clock, has been set back meanwhile.
        self._timeline = 0
        try:
            return await self._hear(stream)
        finally:
            self._drop_doubts()

    async def _hear(self, stream: Stream) -> bool:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._between(_AGE_SECONDS)
        has_heard = False
        while True:
            silence = self._between(_SILENCE_SECONDS)
            try:
                async with asyncio.timeout_at(min(loop.time() + silence, ends_at)):
                    text = await stream.receive()
            except TimeoutError:
                return has_heard
            if text is None:
                return has_heard
            has_heard = True
            received = protocol.parse(text)
            if received is not None:
                if received.type == "CloseMessage":
                    return has_heard
                for answer in self._answers(received):
                    await stream.send(answer)

    def _answers(self, received: Frame) -> list[str]:
        """Does what the frame says, and gives what is to be said to it."""
        message = received.message
        message_id = str(message.get("messageId"))
        match received.type:
            case "PayloadMessage":
                return self._take_payload(message, message_id)
            case "HeartbeatMessage":
                return [protocol.heartbeat_acknowledgement(message_id)]
            case "IAMRoleCredentialsMessage":
                return self._take_credentials(message, message_id)
            case "TaskManifestMessage":
                return self._take_manifest(message, message_id)
            case "TaskStopVerificationAck":
                for each in _dicts(message.get("stopTasks")):
                    self._say(f"task {each.get('taskArn')} is not the server's, and is stopped")
                    self._engine.stop(str(each.get("taskArn")))
                return []
            case "PerformUpdateMessage" | "StageUpdateMessage":
                return [protocol.update_refused(message)]
            case _:
                self._say(f"ACS: a message of type {received.type} is passed over")
                return []

    def _take_payload(self, message: dict[str, Any], message_id: str) -> list[str]:
        """No acknowledgement of a message in which one task is bad: that task is reported STOPPED instead."""
        self._timeline = max(self._timeline, _number(message.get("seqNum")))
        tasks = _dicts(message.get("tasks"))
        are_good = [self._engine.accept(task) for task in tasks]
        answers = [
            protocol.credentials_acknowledgement(
                credentials_id=str(given.get("credentialsId")),
                expiration=str(given.get("expiration")),
                message_id=message_id,
            )
            for task, is_good in zip(tasks, are_good, strict=True)
            if is_good
            for given in (task.get("roleCredentials"), task.get("executionRoleCredentials"))
            if isinstance(given, dict)
        ]
        return [*answers, protocol.acknowledgement(message)] if all(are_good) else answers

    def _take_credentials(self, message: dict[str, Any], message_id: str) -> list[str]:
        try:
            session = msgspec.convert(message.get("roleCredentials"), RoleCredentials)
            session.as_credentials()
        except (msgspec.ValidationError, ValueError) as error:
            self._say(f"ACS: credentials that can't be read: {error}")
            return []
        role_type = str(message.get("roleType") or protocol.APPLICATION)
        if not self._engine.renew_credentials(str(message.get("taskArn")), role_type, session):
            return []
        return [
            protocol.credentials_acknowledgement(
                credentials_id=session.credentials_id, expiration=session.expiration, message_id=message_id
            )
        ]

    def _take_manifest(self, message: dict[str, Any], message_id: str) -> list[str]:
        """Tasks here that the server did not name may be killed, if it says so once more."""
        timeline = _number(message.get("timeline"))
        if timeline <= self._timeline:
            return []  # It is older than what came since.
        self._timeline = timeline
        self._drop_doubts()
        named = [(str(each.get("taskArn")), str(each.get("taskClusterArn"))) for each in _dicts(message.get("tasks"))]
        self._doubts = asyncio.get_running_loop().call_later(_LOST_SECONDS, self._engine.end_unknown, named)
        wanted = {
            each.get("taskArn") for each in _dicts(message.get("tasks")) if each.get("desiredStatus") != "STOPPED"
        }
        candidates = [each for each in self._engine.living() if each[0] not in wanted]
        answers = [protocol.acknowledgement(message)]
        if candidates:
            answers.insert(0, protocol.stop_verification(message_id, candidates))
        return answers

    def _drop_doubts(self) -> None:
        if self._doubts is not None:
            self._doubts.cancel()
            self._doubts = None

    # The stream of measurements.

    async def _measure(self, stream: Stream) -> bool:
        """Publishes, and reads the answers; returns when the stream has ended."""
        publishing = asyncio.get_running_loop().create_task(self._publish(stream))
        try:
            return await self._drain(stream)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    async def _drain(self, stream: Stream) -> bool:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._between(_AGE_SECONDS)
        has_heard = False
        while True:
            try:
                async with asyncio.timeout_at(min(loop.time() + self._between(_SILENCE_SECONDS), ends_at)):
                    text = await stream.receive()
            except TimeoutError:
                return has_heard
            if text is None:
                return has_heard
            has_heard = True

    async def _publish(self, stream: Stream) -> None:
        """Ends when the stream does, or at once where nothing is to be published."""
        since = self._clock.now()
        while self._config.metrics_seconds > 0:
            now = self._clock.now()
            status = protocol.publish_status(
                cluster=self._cluster, arn=self._arn, request_id=self._ids.uuid(), since=since, now=now
            )
            metrics = protocol.publish_metrics(
                cluster=self._cluster,
                arn=self._arn,
                message_id=self._ids.uuid(),
                is_idle=self._engine.is_idle,
                now=now,
            )
            try:
                held = await self._role.credentials()
                for text in (status, metrics):
                    await stream.send(self._signed(text, held))
            except (NoCredentials, TransportError) as error:
                self._say(f"TCS stream: {error}")
            await asyncio.sleep(self._config.metrics_seconds)

    def _signed(self, text: str, held: Credentials) -> str:
        """Frames of telemetry are HTTP header lines with a signature, an empty line, and the message."""
        url = f"{self._endpoints[1]}/ws"
        headers = sign(
            "GET",
            url,
            {},
            text.encode(),
            "ecs",
            self._config.region,
            held.access_key_id,
            held.secret_access_key,
            held.session_token,
            self._clock.now(),
        )
        assert headers["host"] == urlsplit(url).netloc
        lines = "".join(f"{name.title()}: {value}\r\n" for name, value in headers.items())
        return f"{lines}\r\n{text}"


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
