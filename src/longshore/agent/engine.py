"""Carries out what the machine decides: the tasks of the instance, their containers, their logs, their reports.

What has happened is on the shelf before anything follows from it, so that an agent that starts anew goes on where the last
one was: running containers are waited for, unreported ends are reported, what was under way is asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from longshore.agent import machine, payload, protocol, task_metadata
from longshore.agent.config import AgentConfig
from longshore.agent.credentials import TaskCredentials
from longshore.agent.identity import Api, NoCredentials, is_transient
from longshore.agent.late_logs import LateLogs, Stream
from longshore.agent.logs import AwsLogs, LogStreamRefused, Place
from longshore.agent.machine import (
    Accepted,
    Create,
    Created,
    Effect,
    Event,
    Exited,
    NotStarted,
    Pull,
    Pulled,
    Release,
    Report,
    Start,
    Started,
    Stop,
    StopWanted,
)
from longshore.agent.order import Status
from longshore.agent.payload import BadTask, NotOffered, PayloadContainer, PayloadTask
from longshore.agent.protocol import RoleCredentials, Seen
from longshore.agent.resources import Resources
from longshore.agent.runtimes.base import ContainerError, Exit, Runtime
from longshore.agent.shelf import Shelf
from longshore.agent.transport import Credentials, TransportError
from longshore.aws.clock import Clock
from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids

# amazon-ecs-agent, agent/dockerclient/timeout.go and the developer guide, ECS_CONTAINER_CREATE_TIMEOUT, _START_TIMEOUT.
_PULL_SECONDS = 2 * 3600.0
_CREATE_SECONDS = 240.0
_START_SECONDS = 180.0
# A report of an end waits for the log, since people read it at once; but not for a log service that does not answer.
_FLUSH_SECONDS = 5.0
_CREDENTIALS_SECONDS = 30.0  # in which a new stream brings the sessions of roles
# How long a report is tried again (the original: about a day), and how far apart. A refusal is mended by a person who then
# waits for it, so it is asked again soon; the original's pauses of minutes spare a service far greater than this one.
_REPORT_SECONDS = 24 * 3600.0
_UNANSWERED: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_REFUSED: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0)
_REMEMBERED = 4096  # ended tasks, in case the server repeats the payload of one


class State(Struct, frozen=True, kw_only=True):
    """What the shelf keeps of a task beside its payload."""

    arn: str
    cluster_arn: str
    number: int  # in the order of arrival
    task: machine.Task
    is_accepted: bool = False  # its resources are set aside
    reason: str = ""  # of the task as a whole
    reports: tuple[dict[str, Any], ...] = ()  # SubmitTaskStateChange, in order, not accepted yet
    seen: dict[str, Seen] = {}  # by container
    endpoint_ids: dict[str, str] = {}  # container -> under which it finds its metadata
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: dict[str, datetime] = {}
    finished_at: dict[str, datetime] = {}
    created_at: datetime | None = None


class _LogPlace(Struct, frozen=True):
    end: int = 0
    is_complete: bool = False
    last_ms: int = 0


class _Entry:
    """A task in memory."""

    def __init__(self, state: State, task: PayloadTask) -> None:
        self.state = state
        self.payload = task
        self.need = payload.need(task)
        self.containers = {each.name: each for each in task.containers or []}
        self.opening: dict[str, asyncio.Task[str | None]] = {}  # container -> its log stream: None, or why not
        self.logs: dict[str, AwsLogs] = {}
        self.carrying: dict[str, asyncio.Task[None]] = {}  # container -> its log
        self.is_reporting = False
        self.is_clean = False

    @property
    def id(self) -> str:
        return self.payload.id


class Engine:
    """`group`: where its coroutines run; when the group is cancelled, containers go on."""

    def __init__(
        self,
        *,
        config: AgentConfig,
        runtime: Runtime,
        shelf: Shelf,
        api: Api,
        credentials: TaskCredentials,
        clock: Clock,
        ids: Ids,
        group: asyncio.TaskGroup,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._shelf = shelf
        self._api = api
        self._credentials = credentials
        self._clock = clock
        self._ids = ids
        self._group = group
        self._say = say
        self._entries: dict[str, _Entry] = {}  # by task ARN
        self._by_endpoint: dict[str, tuple[_Entry, str]] = {}  # endpoint id -> task and container
        self._waiting: deque[_Entry] = deque()  # for resources, first come first served
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._number = 0
        self._late_logs = LateLogs(shelf, api, credentials, clock, group, say)
        self._resources = self._offered = Resources(
            cpu=config.vcpus * 1024,
            memory_mib=max(0, config.memory_mib - config.reserved_memory_mib),
            ports_taken=frozenset(
                {(port, "tcp") for port in config.reserved_ports}
                | {(port, "udp") for port in config.reserved_ports_udp}
            ),
        )

    # What the session asks.

    def accept(self, raw: Mapping[str, Any]) -> bool:
        """A task of a payload, new or known. False: it can't be read; the server hears that by a report."""
        arn = raw.get("arn")
        if not isinstance(arn, str) or not arn:
            self._say("payload: a task without an ARN is passed over")
            return False
        known = self._entries.get(arn)
        try:
            task = payload.read_task(raw)
        except BadTask as error:
            self._say(f"task {arn}: {error}")
            if known is None and arn not in self._ended:
                self._end_unread(raw, f"UnrecogniedTaskError: Error loading task - {error}")
            return False
        if known is None and arn in self._ended:
            return True
        if known is None and task.desired_status == "STOPPED":
            # It never came, or is forgotten. Nobody but the agent ends a task.
            self._end_unread(raw, "")
        elif known is None:
            self._add(task, raw)
        elif task.desired_status == "STOPPED":
            self._happened(known, StopWanted())
        for role_type, session in (
            (protocol.APPLICATION, task.role_credentials),
            (protocol.EXECUTION, task.execution_role_credentials),
        ):
            if session is not None and session.is_whole and arn in self._entries:
                self._credentials.put(arn, role_type, session)
        return True

    def stop(self, arn: str) -> None:
        entry = self._entries.get(arn)
        if entry is not None:
            self._happened(entry, StopWanted())

    def end_unknown(self, named: Iterable[tuple[str, str]]) -> None:
        """Of these tasks, each an ARN and its cluster's, those that are not here have ended: what ran of them was swept away
        at this agent's start. Without a word of it the server would wait for their end for ever."""
        for arn, cluster_arn in named:
            if arn not in self._entries and arn not in self._ended:
                self._say(f"task {arn} was given to an agent before this one, which left no record of it")
                self._end_unread({"arn": arn, "taskClusterArn": cluster_arn}, "The agent has no record of the task.")

    def renew_credentials(self, arn: str, role_type: str, session: RoleCredentials) -> bool:
        """False: no such task is here."""
        entry = self._entries.get(arn)
        if entry is None:
            return False
        self._credentials.put(arn, role_type, session)
        return True

    def living(self) -> list[tuple[str, str]]:
        """(task ARN, cluster ARN) of the tasks that are to run."""
        return [
            (entry.state.arn, entry.state.cluster_arn)
            for entry in self._entries.values()
            if not entry.state.task.has_ended and not entry.state.task.is_to_stop
        ]

    @property
    def is_idle(self) -> bool:
        return all(entry.state.task.has_ended for entry in self._entries.values())

    def describe(self, endpoint_id: str, what: str) -> Mapping[str, Any] | None:
        """The metadata of the container or its task. None: there is no such endpoint."""
        found = self._by_endpoint.get(endpoint_id)
        if found is None:
            return None
        entry, name = found
        return task_metadata.document(entry.payload, entry.state, name, what, cluster=self._cluster)

    # A task comes.

    def _add(self, task: PayloadTask, raw: Mapping[str, Any]) -> None:
        entry = self._put(
            State(
                arn=task.arn,
                cluster_arn=task.task_cluster_arn or "",
                number=self._next_number(),
                task=payload.machine_task(task, self._config),
                endpoint_ids={each.name: self._ids.uuid() for each in task.containers or []},
                created_at=self._clock.now(),
            ),
            task,
        )
        self._shelf.put(f"tasks/{entry.id}", msgspec.json.encode(payload.without_secrets(dict(raw))))
        self._save(entry)
        if not self._offered.fits(entry.need):
            entry.state = replace(entry.state, reason="The instance does not offer what the task needs.")
            self._happened(entry, StopWanted())
            return
        self._waiting.append(entry)
        self._admit()

    def _put(self, state: State, task: PayloadTask) -> _Entry:
        entry = _Entry(state, task)
        self._entries[state.arn] = entry
        for name, endpoint_id in state.endpoint_ids.items():
            self._by_endpoint[endpoint_id] = (entry, name)
        return entry

    def _end_unread(self, raw: Mapping[str, Any], reason: str) -> None:
        """A task of which nothing is run: it has ended for the server too."""
        arn, cluster_arn = str(raw["arn"]), str(raw.get("taskClusterArn") or "")
        ended = machine.Task(arn=arn, containers=(), is_to_stop=True, reported=Status.STOPPED)
        state = State(arn=arn, cluster_arn=cluster_arn, number=self._next_number(), task=ended, reason=reason)
        entry = self._put(state, PayloadTask(arn=arn, task_cluster_arn=cluster_arn, desired_status="STOPPED"))
        entry.is_clean = True
        entry.state = replace(state, reports=(self._report_of(entry, Report("STOPPED", ())),))
        self._save(entry)
        self._begin_reporting(entry)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _admit(self) -> None:
        """Lets those begin whose turn it is. One that does not fit holds up those behind it, or it might never begin."""
        while self._waiting:
            entry = self._waiting[0]
            if not entry.state.task.has_ended:
                if not self._resources.fits(entry.need):
                    return
                self._resources = self._resources.take(entry.need)
                entry.state = replace(entry.state, is_accepted=True)
            self._waiting.popleft()
            if entry.state.is_accepted:
                self._happened(entry, Accepted())

    # What has happened, and what follows from it.

    def _happened(self, entry: _Entry, event: Event) -> None:
        if isinstance(event, StopWanted) or entry.state.is_accepted:
            self._spawn(entry, self._step(entry, event))

    def _step(self, entry: _Entry, event: Event) -> list[Effect]:
        """Writes down what the machine says; gives what is still to be carried out."""
        before = entry.state
        task, effects = machine.step(before.task, event)
        reports = [self._report_of(entry, effect) for effect in effects if isinstance(effect, Report)]
        entry.state = replace(entry.state, task=task, reports=(*entry.state.reports, *reports))
        is_released = any(isinstance(effect, Release) for effect in effects)
        if is_released and entry.state.is_accepted:
            self._resources = self._resources.give(entry.need)
            entry.state = replace(entry.state, is_accepted=False)
        if reports or task.changes != before.task.changes or isinstance(event, Accepted | StopWanted):
            # What a repeated verb would find again (a pulled image, a created container) need not be written down.
            self._save(entry)
        if reports:
            self._begin_reporting(entry)
        if is_released:
            self._group.create_task(self._clean(entry))
            self._admit()
        return [effect for effect in effects if isinstance(effect, Pull | Create | Start | Stop)]

    def _spawn(self, entry: _Entry, effects: list[Effect]) -> None:
        for effect in effects:
            self._group.create_task(self._drive(entry, effect))

    async def _drive(self, entry: _Entry, effect: Effect) -> None:
        """Carries an effect out, and one after another what follows for its container, till it has ended."""
        following: Effect | None = effect
        while following is not None:
            if isinstance(following, Stop):
                await self._stop(entry, following)
                return
            assert isinstance(following, Pull | Create | Start)
            event = await self._carry_out(entry, following)
            more = self._step(entry, event)
            own = [each for each in more if isinstance(each, Create | Start) and each.name == following.name]
            self._spawn(entry, [each for each in more if each not in own])
            if isinstance(event, Started):
                await self._follow(entry, following.name)
                return
            following = own[0] if own else None

    async def _carry_out(self, entry: _Entry, effect: Pull | Create | Start) -> Event:
        container = entry.containers[effect.name]
        try:
            match effect:
                case Pull():
                    return await self._pull(entry, container)
                case Create():
                    return await self._create(entry, container)
                case Start():
                    return await self._start(entry, container)
        except (ContainerError, NotOffered) as error:
            reason = str(error)
        except TimeoutError:
            reason = f"DockerTimeoutError: Could not transition to {_GOALS[type(effect)]}; timed out"
        except Exception as error:
            # A runtime that breaks fails its container, not the agent with all the others.
            reason = f"{_FAILURES[type(effect)]}: {error!r}"
        self._say(f"task {entry.id}, container {effect.name}: {reason}")
        opening = entry.opening.pop(effect.name, None)
        if opening is not None:
            opening.cancel()
        return NotStarted(effect.name, reason)

    async def _pull(self, entry: _Entry, container: PayloadContainer) -> Event:
        if entry.state.pull_started_at is None:
            entry.state = replace(entry.state, pull_started_at=self._clock.now())
        try:
            async with asyncio.timeout(_PULL_SECONDS):
                image = await self._runtime.pull(container.image)
        finally:
            entry.state = replace(entry.state, pull_stopped_at=self._clock.now())
        self._see(entry, container.name, image_digest=image.digest)
        return Pulled(container.name)

    async def _create(self, entry: _Entry, container: PayloadContainer) -> Event:
        spec = payload.container_spec(
            entry.payload, container, self._config, endpoint_id=entry.state.endpoint_ids[container.name]
        )
        self._open_log(entry, container)
        async with asyncio.timeout(_CREATE_SECONDS):
            runtime_id = await self._runtime.create(spec)
        bindings = payload.network_bindings(entry.payload, container)
        self._see(entry, container.name, runtime_id=runtime_id, network_bindings=bindings)
        return Created(container.name)

    async def _start(self, entry: _Entry, container: PayloadContainer) -> Event:
        if container.name not in entry.opening:
            self._open_log(entry, container)  # It was created under an earlier agent.
        opening = entry.opening.pop(container.name, None)
        refused = await opening if opening is not None else None
        if refused is not None:
            raise ContainerError(
                "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: "
                f"failed to create Cloudwatch log stream: {refused}"
            )
        container_id = payload.container_id(entry.payload, container)
        try:
            async with asyncio.timeout(container.start_timeout or _START_SECONDS):
                await self._runtime.start(container_id)
        except TimeoutError:
            await self._runtime.stop(container_id, 0)
            raise
        now = self._clock.now()
        entry.state = replace(entry.state, started_at={**entry.state.started_at, container.name: now})
        self._carry_log(entry, container)
        return Started(container.name)

    async def _stop(self, entry: _Entry, effect: Stop) -> None:
        container_id = payload.container_id(entry.payload, entry.containers[effect.name])
        while True:
            try:
                await self._runtime.stop(container_id, effect.grace_seconds)
                return
            except (ContainerError, OSError) as error:
                self._say(f"task {entry.id}, container {effect.name}: can't be stopped: {error}")
            await asyncio.sleep(1)

    async def _follow(self, entry: _Entry, name: str) -> None:
        """Waits for the end."""
        container_id = payload.container_id(entry.payload, entry.containers[name])
        found: Exit | None = None
        while found is None:
            try:
                found = await self._runtime.wait(container_id)
            except (ContainerError, OSError) as error:
                self._say(f"task {entry.id}, container {name}: can't be waited for: {error}")
                await asyncio.sleep(1)
        if name in entry.logs:
            entry.logs[name].end()
        now = self._clock.now()
        entry.state = replace(entry.state, finished_at={**entry.state.finished_at, name: now})
        self._happened(entry, Exited(name, found.exit_code, found.reason))

    def _see(self, entry: _Entry, name: str, **found: Any) -> None:
        seen = replace(entry.state.seen.get(name, Seen()), **found)
        entry.state = replace(entry.state, seen={**entry.state.seen, name: seen})

    # Logs.

    def _stream(self, entry: _Entry, container: PayloadContainer) -> Stream | None:
        """None: what it writes goes to no log stream."""
        driver = payload.log_config(container)
        if driver.type != "awslogs":
            return None
        execution = entry.payload.execution_role_credentials
        is_executions = container.logs_auth_strategy == "ExecutionRole" and execution is not None
        # The id of its metadata can't be guessed, and is known to the container alone.
        writer = hashlib.sha256(f"log {entry.state.endpoint_ids[container.name]}".encode()).hexdigest()[:32]
        return Stream(
            group=driver.config["awslogs-group"],
            stream=driver.config.get("awslogs-stream") or payload.container_id(entry.payload, container),
            writer=writer,
            creates_group=driver.config.get("awslogs-create-group") == "true",
            credentials_id=execution.credentials_id if execution is not None and is_executions else None,
        )

    def _log(self, stream: Stream) -> AwsLogs:
        credentials_id = stream.credentials_id

        async def session() -> Credentials:
            assert credentials_id is not None
            return await self._task_session(credentials_id)

        return AwsLogs(
            self._api,
            self._clock,
            group=stream.group,
            stream=stream.stream,
            writer=stream.writer,
            creates_group=stream.creates_group,
            credentials=session if credentials_id is not None else None,
            say=self._say,
        )

    async def _task_session(self, credentials_id: str) -> Credentials:
        try:
            async with asyncio.timeout(_CREDENTIALS_SECONDS):
                return await self._credentials.session(credentials_id)
        except TimeoutError as error:
            raise NoCredentials("the server has sent no session of the task's execution role") from error

    def _open_log(self, entry: _Entry, container: PayloadContainer) -> None:
        """Begins to make the log stream, while the container is being created."""
        stream = self._stream(entry, container)
        if stream is not None:
            entry.opening[container.name] = self._group.create_task(_opened(self._log(stream)))

    def _carry_log(self, entry: _Entry, container: PayloadContainer) -> None:
        stream = self._stream(entry, container)
        if stream is None or container.name in entry.carrying:
            return
        container_id = payload.container_id(entry.payload, container)
        place = self._log_place(container_id)
        if not place.is_complete:
            after = Place(place.end, place.last_ms)
            log = entry.logs[container.name] = self._log(stream)
            entry.carrying[container.name] = self._group.create_task(self._carry(log, stream, container_id, after))

    def _log_place(self, container_id: str) -> _LogPlace:
        kept = self._shelf.get(f"logs/{container_id}")
        return msgspec.json.decode(kept, type=_LogPlace) if kept is not None else _LogPlace()

    async def _carry(self, log: AwsLogs, stream: Stream, container_id: str, after: Place) -> None:
        there = after

        def acknowledged(place: Place) -> None:
            nonlocal there
            there = place
            self._shelf.put(f"logs/{container_id}", msgspec.json.encode(_LogPlace(place.end, last_ms=place.last_ms)))

        try:
            rest = await log.carry(self._runtime.logs(container_id, after.end), after, acknowledged)
            if rest is not None:
                self._late_logs.keep(container_id, stream, rest)
        except (ContainerError, OSError) as error:
            log.say(f"container {container_id}: its output can't be read: {error}")
        complete = _LogPlace(there.end, is_complete=True, last_ms=there.last_ms)
        self._shelf.put(f"logs/{container_id}", msgspec.json.encode(complete))

    # Reports.

    @property
    def _cluster(self) -> str:
        return self._config.cluster or "default"

    def _report_of(self, entry: _Entry, report: Report) -> dict[str, Any]:
        state = entry.state
        return protocol.task_report(
            report,
            cluster=self._cluster,
            task_arn=state.arn,
            seen=state.seen,
            reason=state.reason if report.status == "STOPPED" else "",
            pulled=(state.pull_started_at, state.pull_stopped_at),
            ended_at=max(state.finished_at.values()) if state.finished_at else None,
        )

    def _begin_reporting(self, entry: _Entry) -> None:
        if not entry.is_reporting and entry.state.reports:
            entry.is_reporting = True
            self._group.create_task(self._report(entry))

    async def _report(self, entry: _Entry) -> None:
        """One report after the other, each till it is accepted: the order of a task's news is part of the news."""
        while entry.state.reports:
            report = entry.state.reports[0]
            if report["status"] == "STOPPED" and entry.carrying:
                await asyncio.wait(entry.carrying.values(), timeout=_FLUSH_SECONDS)
            await self._submit(entry, report)
            entry.state = replace(entry.state, reports=entry.state.reports[1:])
            if entry.state.reports or not entry.is_clean:
                self._save(entry)
        entry.is_reporting = False
        self._forget_if_done(entry)

    async def _submit(self, entry: _Entry, report: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _REPORT_SECONDS
        attempt = 0
        while loop.time() < give_up_at:
            if report["status"] == "STOPPED":
                await self._flush(entry)
            try:
                await self._api.call("ecs", "SubmitTaskStateChange", report)
                return
            except (AwsError, NoCredentials, TransportError) as error:
                if isinstance(error, AwsError) and error.code == "InvalidParameterException":
                    # The server knows the task no longer.
                    self._say(f"report of {report['task']} dropped: {error}")
                    return
                if attempt == 0:
                    self._say(f"report of {report['task']}: {error}")
                pauses = _UNANSWERED if is_transient(error) else _REFUSED
            await asyncio.sleep(pauses[min(attempt, len(pauses) - 1)])
            attempt += 1
        self._say(f"report of {report['task']} given up")

    async def _flush(self, entry: _Entry) -> None:
        """Who has not answered for a while is back for the log when it is back for the report: so the log has a try before."""
        living = [name for name, carrying in entry.carrying.items() if not carrying.done()]
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                if any([await entry.logs[name].try_now() for name in living]):
                    await asyncio.wait(entry.carrying.values())
                for container in entry.containers.values():
                    await self._late_logs.try_now(payload.container_id(entry.payload, container))
        except TimeoutError:
            pass

    # Ends.

    async def _clean(self, entry: _Entry) -> None:
        """Removes what is left of the containers once their logs are away."""
        if entry.carrying:
            await asyncio.wait(entry.carrying.values())
        for container in entry.containers.values():
            await self._remove(payload.container_id(entry.payload, container))
        entry.is_clean = True
        self._forget_if_done(entry)

    async def _remove(self, container_id: str) -> None:
        try:
            await self._runtime.remove(container_id)
        except (ContainerError, OSError) as error:
            # The next start of the agent tries again: it removes what belongs to no task.
            self._say(f"container {container_id} can't be removed: {error}")
        self._shelf.remove(f"logs/{container_id}")

    def _forget_if_done(self, entry: _Entry) -> None:
        if not entry.is_clean or entry.is_reporting or entry.state.reports:
            return
        arn = entry.state.arn
        del self._entries[arn]
        for endpoint_id in entry.state.endpoint_ids.values():
            del self._by_endpoint[endpoint_id]
        self._credentials.forget(arn)
        self._shelf.remove(f"states/{entry.id}")
        self._shelf.remove(f"tasks/{entry.id}")
        self._ended[arn] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def _save(self, entry: _Entry) -> None:
        self._shelf.put(f"states/{entry.id}", msgspec.json.encode(entry.state))

    # A new start.

    def restore(self) -> None:
        """Takes up the tasks that an earlier agent of this instance left on the shelf."""
        states = [self._read_state(name) for name in self._shelf.names("states")]
        for state in sorted((each for each in states if each is not None), key=lambda each: each.number):
            self._number = max(self._number, state.number)
            self._take_up(self._put(state, self._read_payload(state)))
        self._admit()
        known = {
            payload.container_id(entry.payload, container)
            for entry in self._entries.values()
            for container in entry.containers.values()
        }
        # What was cut short while a task came or went.
        for name in self._shelf.names("tasks"):
            if self._shelf.get(name.replace("tasks/", "states/")) is None:
                self._shelf.remove(name)
        for name in self._shelf.names("logs"):
            if name.removeprefix("logs/") not in known:
                self._shelf.remove(name)
        self._late_logs.restore()
        self._group.create_task(self._sweep(known))

    def _read_payload(self, state: State) -> PayloadTask:
        """Without containers where nothing was kept: a task that could not be read, of which only the report is left."""
        kept = self._shelf.get(f"tasks/{state.arn.rpartition('/')[2]}")
        if kept is None:
            return PayloadTask(arn=state.arn, task_cluster_arn=state.cluster_arn, desired_status="STOPPED")
        return payload.read_task(msgspec.json.decode(kept, type=dict[str, Any]))

    def _read_state(self, name: str) -> State | None:
        kept = self._shelf.get(name)
        return msgspec.json.decode(kept, type=State) if kept is not None else None

    def _take_up(self, entry: _Entry) -> None:
        task = entry.state.task
        for container in entry.containers.values():
            if task.container(container.name).known >= Status.RUNNING and container.name in entry.state.started_at:
                self._carry_log(entry, container)
                if task.container(container.name).has_ended and container.name in entry.logs:
                    entry.logs[container.name].end()
        if task.has_ended and task.reported is Status.STOPPED:
            self._begin_reporting(entry)
            self._group.create_task(self._clean(entry))
            return
        # What was under way when the last agent ended is asked again.
        calm = tuple(replace(each, busy=False, is_stopping=False) for each in task.containers)
        entry.state = replace(entry.state, task=replace(task, containers=calm))
        self._begin_reporting(entry)
        if not entry.state.is_accepted:
            self._waiting.append(entry)
            return
        self._resources = self._resources.take(entry.need)
        for each in calm:
            if each.known is Status.RUNNING:
                self._group.create_task(self._follow(entry, each.name))
        self._happened(entry, Accepted())

    async def _sweep(self, known: set[str]) -> None:
        """Removes containers that belong to no task: an earlier agent ended before it could."""
        for container_id in await self._runtime.inspect():
            if container_id not in known:
                try:
                    await self._runtime.stop(container_id, 0)
                except (ContainerError, OSError) as error:
                    self._say(f"container {container_id} can't be stopped: {error}")
                await self._remove(container_id)


async def _opened(log: AwsLogs) -> str | None:
    try:
        await log.open()
    except LogStreamRefused as refused:
        return str(refused)
    return None


_GOALS: dict[type[Effect], str] = {Pull: "pulled", Create: "created", Start: "started"}
_FAILURES: dict[type[Effect], str] = {
    Pull: "CannotPullContainerError",
    Create: "CannotCreateContainerError",
    Start: "CannotStartContainerError",
}
