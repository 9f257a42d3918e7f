"""The two streams of an agent: what it is to do (ACS), and what it measures (TCS).

The shell around poll_protocol.py. A stream waits for the store to change under it (streams.py wakes it after the commit),
for its agent to speak, and for the time of the next heartbeat; it never looks on the off chance.

Source: the agent's own client (`ecs-agent/acs`, `ecs-agent/tcs`) and the captured frames.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from longshore.aws.errors import AwsError
from longshore.aws.principal import service
from longshore.kit.house import Turn
from longshore.kit.operation import stream
from longshore.services.ecs import acs, agents, changes, lifecycle, references, store, streams
from longshore.services.ecs.poll_protocol import Acknowledge, Conversation, Role, VerifyStops, roles
from longshore.services.ecs.records import Standing, Task, TaskDefinition
from longshore.services.ecs.references import place

if TYPE_CHECKING:
    from longshore.kit.call import Call
    from longshore.kit.stream import StreamSession

ECS_TASKS = "ecs-tasks.amazonaws.com"
_OPEN = ("ACTIVE", "DRAINING")  # instances in these states have streams


@stream(path="/acs/ws", action="ecs:Poll")
async def poll(session: StreamSession) -> None:
    """The stream by which an agent hears of its tasks. While it is open, its instance is connected."""
    arn = session.query["containerInstanceArn"]
    turn = _turn_of(session, arn)
    notifier = streams.register(session.house, arn)
    try:
        standing = await turn.write(lambda call: _connected(call, arn, session))
        if standing is not None:
            await _Poll(session, turn, standing, notifier).run()
    except asyncio.CancelledError:
        # The server ends; what is written down of connections is set right at its next start.
        streams.unregister(session.house, arn, notifier)
        raise
    except Exception:
        await _leave(session, turn, arn, notifier)
        raise
    await _leave(session, turn, arn, notifier)
    await session.close()


def _turn_of(session: StreamSession, arn: str) -> Turn:
    """The agent's own turn, in the region of its container instance."""
    turn = session.turn
    return Turn(session.house, "ecs", turn.principal, arn.split(":")[3], turn.endpoint)


def _find(call: Call, arn: str) -> Standing | None:
    standing = store.find_instance(place(call), references.last_part(arn))
    return standing if standing is not None and standing.instance.arn == arn else None


def _connected(call: Call, arn: str, session: StreamSession) -> Standing | None:
    """None: there is no such instance, or no longer."""
    standing = _find(call, arn)
    if standing is None or standing.status == "INACTIVE":
        return None
    agents.must_be_own(call, standing.instance)
    # The original agent registers without versions and tells them here.
    told = {
        name: session.query[name] for name in ("agentVersion", "agentHash", "dockerVersion") if session.query.get(name)
    }
    return changes.change_instance(
        call,
        replace(
            standing,
            agent_connected=True,
            connectivity_at=call.now,
            instance=replace(standing.instance, version_info={**standing.instance.version_info, **told}),
        ),
    )


async def _leave(session: StreamSession, turn: Turn, arn: str, notifier: streams.Notifier) -> None:
    if streams.unregister(session.house, arn, notifier):
        await turn.write(lambda call: _disconnected(call, arn))


def _disconnected(call: Call, arn: str) -> None:
    standing = _find(call, arn)
    if standing is not None and standing.agent_connected:
        changes.change_instance(call, replace(standing, agent_connected=False, connectivity_at=call.now))


class _Prepared(Struct, frozen=True):
    """A task that is ready to be sent, with its definition and its roles' sessions by role type."""

    task: Task
    definition: TaskDefinition
    credentials: dict[str, acs.RoleCredentials]


class _Poll:
    """One open stream of tasks."""

    def __init__(self, session: StreamSession, turn: Turn, standing: Standing, notifier: streams.Notifier) -> None:
        self._session = session
        self._house = session.house
        self._turn = turn
        self._instance = standing.instance
        self._notifier = notifier
        self._conversation = Conversation(self._house.settings.heartbeat_seconds)
        self._acknowledged: list[Acknowledge] = []  # not written down yet
        self._ended = False

    async def run(self) -> None:
        listening = asyncio.create_task(self._listen())
        try:
            if not self._over():
                await self._greet()
            while not self._over():
                self._notifier.news.clear()
                await self._note_acknowledged()
                await self._deliver()
                await self._renew()
                if self._conversation.is_heartbeat_due(self._house.now()):
                    await self._send(acs.heartbeat(self._house.ids.uuid()))
                await self._wait()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    def _over(self) -> bool:
        """Ended by the agent, by a newer stream of it, because its role may poll no longer, or the instance was
        deregistered.

        At AWS a stream lives on until its agent opens the next, within half an hour; here a refusal is to be seen at once.
        """
        if self._notifier.doubted:
            self._notifier.doubted = False
            self._ended = self._ended or not self._session.is_allowed()
        if self._ended or self._notifier.replaced:
            return True
        return self._turn.read(lambda call: store.instance_status(place(call), self._instance.id)) not in _OPEN

    async def _wait(self) -> None:
        now = self._house.now()
        pause = (self._conversation.next_wake(now) - now).total_seconds()
        try:
            # Not `wait_for`: on Python 3.11 it loses a cancellation that meets the event.
            async with asyncio.timeout(max(pause, 0)):
                await self._notifier.news.wait()
        except TimeoutError:
            return

    async def _send(self, text: str) -> None:
        self._conversation.spoke(self._house.now())
        await self._session.send(text)

    # What the agent hears.

    async def _greet(self) -> None:
        """A new stream begins with what the agent may have missed or lost: sessions of roles, and which tasks are its own.

        It keeps sessions in memory only, and says so by sendCredentials on the first stream of its process; on later
        streams we can't know when those it has will end, so they are renewed all the same.
        """
        live = self._turn.read(lambda call: store.live_tasks(place(call), self._instance.id))
        known = [task for task, acknowledged in live if acknowledged == lifecycle.RUNNING]
        for task in known:
            for role in roles(task):
                await self._send_session(task, role)
        now = self._house.now()
        await self._send(
            acs.task_manifest(
                [task for task, _ in live],
                message_id=self._house.ids.uuid(),
                cluster_arn=self._instance.cluster_arn,
                instance_arn=self._instance.arn,
                timeline=self._conversation.sequence(now),
                now=now,
            )
        )

    async def _deliver(self) -> None:
        """Sends the wishes that the agent does not know yet."""
        waiting = self._turn.read(self._unsent)
        if not waiting:
            return
        if any(_needs_sessions(task) for task in waiting):
            prepared = await self._turn.write(lambda call: _prepare(call, _as_they_are(call, waiting)))
        else:
            prepared = self._turn.read(lambda call: _prepare(call, waiting))
        for each in prepared:
            await self._send_task(each)

    def _unsent(self, call: Call) -> list[Task]:
        return self._conversation.to_send(store.undelivered_tasks(place(call), self._instance.id))

    async def _note_acknowledged(self) -> None:
        """In one write, however many came meanwhile. Those that a dying stream takes with it are sent again by the next."""
        if self._acknowledged:
            known, self._acknowledged = self._acknowledged, []
            delivered = [(each.task_id, each.desired_status) for each in known]
            await self._turn.write(lambda call: store.acknowledge(place(call), delivered))

    async def _send_task(self, prepared: _Prepared) -> None:
        task, now = prepared.task, self._house.now()
        message_id = self._house.ids.uuid()
        self._conversation.sent_payload(message_id, task)
        for role_type, credentials in prepared.credentials.items():
            self._conversation.sent_credentials(task, role_type, credentials, now)
        message = acs.payload_task(
            task,
            prepared.definition.body,
            account=self._turn.account,
            region=self._turn.region,
            endpoint=self._turn.endpoint,
            application=prepared.credentials.get(acs.APPLICATION),
            execution=prepared.credentials.get(acs.EXECUTION),
        )
        await self._send(
            acs.payload(
                [message],
                message_id=message_id,
                cluster_arn=self._instance.cluster_arn,
                instance_arn=self._instance.arn,
                sequence=self._conversation.sequence(now),
                now=now,
            )
        )

    async def _renew(self) -> None:
        for task_id, role_type in self._conversation.to_renew(self._house.now()):
            self._conversation.forget_credentials(task_id, role_type)
            task = self._find_task(task_id)
            if task is None or task.last_status == lifecycle.STOPPED:
                continue
            for role in roles(task):
                if role.role_type == role_type:
                    await self._send_session(task, role)

    def _find_task(self, task_id: str) -> Task | None:
        return self._turn.read(lambda call: store.find_task(place(call), task_id))

    async def _send_session(self, task: Task, role: Role) -> None:
        """A role that ECS may take no longer: the task goes on with what it has, the refusal is on record, and soon it is
        tried again."""
        try:
            credentials = await self._turn.write(lambda call: _session_of(call, task, role))
        except AwsError:
            self._conversation.renew_later(task, role.role_type, self._house.now())
            return
        self._conversation.sent_credentials(task, role.role_type, credentials, self._house.now())
        message_id = self._house.ids.uuid()
        await self._send(acs.role_credentials(task, credentials, role_type=role.role_type, message_id=message_id))

    # What the agent says.

    async def _listen(self) -> None:
        try:
            while (text := await self._session.receive()) is not None:
                received = acs.parse(text)
                heard = self._conversation.on_frame(received) if received is not None else None
                if isinstance(heard, Acknowledge):
                    self._acknowledged.append(heard)
                    self._notifier.news.set()
                elif isinstance(heard, VerifyStops):
                    await self._verify(heard)
        finally:
            self._ended = True
            self._notifier.news.set()

    async def _verify(self, heard: VerifyStops) -> None:
        """Only what has ended for us, or was never of this instance, may be killed."""
        stop = self._turn.read(
            lambda call: [each for each in heard.candidates if _may_be_killed(call, each["taskArn"], self._instance.id)]
        )
        if stop:
            await self._send(acs.stop_verification(stop, message_id=heard.message_id, now=self._house.now()))


def _may_be_killed(call: Call, task_arn: str, instance_id: str) -> bool:
    task = store.find_task(place(call), references.last_part(task_arn))
    return task is None or task.last_status == lifecycle.STOPPED or task.container_instance_id != instance_id


def _needs_sessions(task: Task) -> bool:
    return task.desired_status != lifecycle.STOPPED and bool(roles(task))


def _as_they_are(call: Call, stale: list[Task]) -> list[Task]:
    """The tasks as they have become since they were looked at. What has ended meanwhile needs no word."""
    found = [store.find_task(place(call), task.id) for task in stale]
    return [task for task in found if task is not None and task.last_status != lifecycle.STOPPED]


def _prepare(call: Call, tasks: list[Task]) -> list[_Prepared]:
    """What the tasks need to be sent. A task whose role is refused ends here, before it began."""
    here = place(call)
    prepared = []
    for task in tasks:
        definition = store.find_definition(here, task.family, task.revision)
        assert definition is not None, "a task without its definition"
        credentials: dict[str, acs.RoleCredentials] = {}
        if _needs_sessions(task):
            refused = None
            for role in roles(task):
                try:
                    credentials[role.role_type] = _session_of(call, task, role)
                except AwsError:
                    refused = role.role_arn
            if refused is not None:
                changes.apply(call, task, lifecycle.RoleRefused(refused))
                continue
        prepared.append(_Prepared(task, definition, credentials))
    return prepared


def _session_of(call: Call, task: Task, role: Role) -> acs.RoleCredentials:
    """A session of the role for the task; as in AWS its name is the task's id. AwsError: the role is refused to ECS."""
    answer = call.peer(
        "sts",
        "AssumeRole",
        {"RoleArn": role.role_arn, "RoleSessionName": task.id, "_sourceArn": references.source_arn(call)},
        as_=service(ECS_TASKS, call.account),
    )["Credentials"]
    return acs.RoleCredentials(
        credentials_id=role.credentials_id,
        role_arn=role.role_arn,
        access_key_id=answer["AccessKeyId"],
        secret_access_key=answer["SecretAccessKey"],
        session_token=answer["SessionToken"],
        expires_at=answer["Expiration"],
    )


@stream(path="/tcs/ws", action="ecs:StartTelemetrySession")
async def telemetry(session: StreamSession) -> None:
    """The stream of measurements. Each is answered; none is kept yet. Silence would make the agent come anew."""
    arn = session.query["containerInstance"]
    turn = _turn_of(session, arn)
    house = session.house
    receiving: asyncio.Future[str | None] = asyncio.ensure_future(session.receive())
    try:
        while (
            session.is_allowed()
            and turn.read(lambda call: store.instance_status(place(call), references.last_part(arn))) in _OPEN
        ):
            done, _ = await asyncio.wait((receiving,), timeout=house.settings.heartbeat_seconds)
            if not done:
                await session.send(acs.heartbeat(house.ids.uuid()))
                continue
            text = receiving.result()
            if text is None:
                return
            received = acs.parse_signed(text)
            answer = acs.telemetry_answer(received) if received is not None else None
            if answer is not None:
                await session.send(answer)
            receiving = asyncio.ensure_future(session.receive())
    finally:
        receiving.cancel()
    await session.close()
