"""The whole house on a false clock, from a seed: the production rooms, loops and agents, with faults.

A server lives until a commit at which it dies, and is started again over the same database; machines, agents and containers
live on, as they do on real hosts. Agents are killed and start again, streams break, requests and answers are lost or come
twice, machines fail, a role loses its policy for a while. Everything that is random comes from the seed.

The harsher faults: the wall clock is set forward and back while monotonic time goes on; a request that its sender has given up
arrives after all, behind later ones, or a second time; answers take long; an agent comes back with what it had written down
some time before it died.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec import Struct

from in_process import ACCOUNT, IDENTITY_KEY, REGION, ROOT, SeededEntropy
from longshore.agent.runtimes.base import ContainerSpec
from longshore.agent.runtimes.memory import MemoryRuntime
from longshore.agent.transport import Credentials, TransportError
from longshore.aws.errors import AwsError
from longshore.aws.ids import Ids
from longshore.kit.sealing import IdentityDocuments, Sealer
from longshore.server.assemble import Assembly
from longshore.server.indoors import HouseTransport, Indoors
from longshore.services.batch.operations.explain import explain
from longshore.services.ec2.machines.memory import MemoryMachines
from longshore.settings import Settings
from longshore.store.engine import open_store
from simulation.crashing import CrashingStore, Dead, Moment
from virtual_time import VirtualClock, VirtualLoop

T = TypeVar("T")
_SEALER = Sealer(bytes(32))
_DOCUMENTS = IdentityDocuments(IDENTITY_KEY)


class Faults(Struct, frozen=True):
    """How often, as chances; what happens in time, as means in seconds."""

    server_dies: float = 0.004  # at a commit
    request_lost: float = 0.02
    answer_lost: float = 0.02
    request_doubled: float = 0.02
    delayed: float = 0.2
    seconds_between_blows: float = 6.0  # to an agent, a stream, a machine, a role
    # The harsher ones.
    given_up: float = 0.0  # a request arrives seconds after its sender has given it up
    doubled_late: float = 0.0  # a request arrives a second time, seconds later
    answer_late: float = 0.0
    shelf_is_older: float = 0.0  # of the agents that are killed, those that come back with an older state
    seconds_between_jumps: float = 0.0  # of the wall clock; 0: it never jumps


HARSH = Faults(
    given_up=0.02, doubled_late=0.02, answer_late=0.03, shelf_is_older=0.3, seconds_between_jumps=15.0,
)  # fmt: skip
NO_FAULTS = Faults(0, 0, 0, 0, 0, 1e9)

# Every kind of fault by the name under which a world counts those that struck: a kind that never does proves nothing.
MILD_KINDS = frozenset({
    "the server dies before a commit", "the server dies after a commit", "a request is lost", "an answer is lost",
    "a request is doubled", "a request is delayed", "an agent dies", "a stream breaks", "a machine fails",
    "a policy is taken away",
})  # fmt: skip
HARSH_KINDS = MILD_KINDS | {
    "a request that was given up arrives", "a request arrives again later", "requests are reordered", "an answer is late",
    "an agent comes back with older state", "the clock jumps forward", "the clock jumps back",
}  # fmt: skip


class ServerDown(Exception):
    """The server died while it was asked, or was down: whether it was done is not known."""


class Containers:
    """What really ran, whatever the house believes: job id and attempt -> exit code; None: it runs, or was lost."""

    def __init__(self) -> None:
        self.ran: dict[tuple[str, str], int | None] = {}
        self.where: dict[tuple[str, str], tuple[WatchedRuntime, str]] = {}  # the runtime and the container's id
        self.over: set[tuple[str, str]] = set()  # attempts that the house has taken for ended
        self.wrong: str | None = None  # a start that must not be. An agent would take an exception for its own fault.


class WatchedRuntime(MemoryRuntime):
    """Counts what really starts."""

    def __init__(self, containers: Containers) -> None:
        super().__init__()
        self._all = containers
        self._attempts: dict[str, tuple[str, str]] = {}
        self._begun: set[str] = set()

    async def create(self, spec: ContainerSpec) -> str:
        said = spec.environment
        self._attempts[spec.container_id] = (said["AWS_BATCH_JOB_ID"], said["AWS_BATCH_JOB_ATTEMPT"])
        return await super().create(spec)

    async def start(self, container_id: str) -> None:
        is_first = container_id not in self._begun
        await super().start(container_id)
        if is_first:
            self._begun.add(container_id)
            key = self._attempts[container_id]
            if key in self._all.ran:
                self._all.wrong = f"attempt {key[1]} of job {key[0]} ran twice"
            if key in self._all.over:
                self._all.wrong = f"attempt {key[1]} of job {key[0]} was started after it had ended"
            self._all.ran[key] = None
            self._all.where[key] = (self, container_id)

    async def wait(self, container_id: str) -> Any:
        ended = await super().wait(container_id)
        if ended.exit_code is not None:
            self._all.ran[self._attempts[container_id]] = ended.exit_code
        return ended

    def lives(self, container_id: str) -> bool:
        container = self._containers.get(container_id)
        return container is not None and container.is_started and container.exit is None


class JumpingClock(VirtualClock):
    """A wall clock, which people and NTP set."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class World:
    def __init__(
        self, seed: int, faults: Faults, *, on_change: Callable[[], None], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.random = random.Random(seed)
        self.faults = NO_FAULTS  # until `strike`
        self._faults_to_come = faults
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self._on_loop_error)
        self.clock = JumpingClock(self.loop)
        self.ids = Ids(SeededEntropy(seed))
        self.settings = Settings(
            account=ACCOUNT,
            region=REGION,
            vcpus=8,
            memory_mib=65_536,
            idle_seconds=30,
            **(settings or {}),
        )
        self.containers = Containers()
        self.trouble: BaseException | None = None  # an invariant that broke where nobody waits for it
        self.struck: Counter[str] = Counter()  # kind of fault -> how often
        self.failed: set[MemoryRuntime] = set()  # of machines that failed
        self._disk = open_store(None)
        self._on_change = on_change
        self._serving: set[asyncio.Task[Any]] = set()
        self._streams: list[Any] = []
        self._is_up = False
        self._background: list[asyncio.Task[Any]] = []
        self.assembly = self._build()
        # The machines, and the agents on them, outlive every server.
        self.indoors = Indoors(
            self.assembly.house,
            self.assembly.gateway,
            self.assembly.house.ports["imds"],
            transport_of=lambda transport: FaultyTransport(self, transport),
            runtime_of=lambda: WatchedRuntime(self.containers),
            metrics_seconds=1e6,
        )
        self.machines = MemoryMachines(self.assembly.house, self.indoors)
        self.run(self._start())

    # Lives of the server.

    def _build(self) -> Assembly:
        store = CrashingStore(
            self._disk._writer, on_commit=self._fate, on_death=self._on_death, on_change=self._changed
        )
        self.store = store
        return Assembly(
            settings=self.settings,
            store=store,
            clock=self.clock,
            ids=self.ids,
            sealer=_SEALER,
            identity_documents=_DOCUMENTS,
            root_keys=ROOT,
        )

    async def _start(self) -> None:
        self.assembly.use(self.machines)
        await self.assembly.start()
        self._is_up = True

    def _fate(self) -> Moment | None:
        if not self._is_up or self.random.random() >= self.faults.server_dies:
            return None
        moment: Moment = "before" if self.random.random() < 0.5 else "after"
        self.struck[f"the server dies {moment} a commit"] += 1
        return moment

    def _on_death(self) -> None:
        """All at once: nothing of the server takes another step."""
        self._is_up = False
        for task in self.assembly._tasks:
            task.cancel()
        for task in list(self._serving):
            task.cancel()
        for stream in self._streams:
            stream._served.cancel()
        self._streams.clear()
        self._background.append(self.loop.create_task(self._revive()))

    async def _revive(self) -> None:
        _, lingering = await asyncio.wait(self.assembly._tasks, timeout=60.0)
        if lingering:
            self.trouble = AssertionError(f"work of a dead server goes on: {lingering}")
        await asyncio.sleep(self.random.uniform(0.05, 5.0))
        self.assembly = self._build()
        await self._start()

    def _changed(self) -> None:
        if self.trouble is None:
            try:
                assert self.containers.wrong is None, self.containers.wrong
                self._on_change()
            except AssertionError as broken:
                self.trouble = broken

    def _on_loop_error(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, AssertionError) and self.trouble is None:
            self.trouble = error

    # Callers.

    async def serve(self, work: Coroutine[Any, Any, T]) -> T:
        """Something that the server does for a caller; ServerDown if it dies meanwhile."""
        life = self.assembly
        task = self.loop.create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if task.cancelled() or not self._is_up or self.assembly is not life or isinstance(task.exception(), Dead):
            raise ServerDown
        return task.result()

    async def call(self, service: str, operation: str, request: dict[str, Any]) -> Any:
        """As the root user. AwsError; ServerDown."""
        if not self._is_up:
            raise ServerDown
        return await self.serve(self.assembly.call_as_root(service, operation, request))

    async def explain(self, job_id: str) -> Any:
        """What a user is told about the job, at once. ServerDown."""
        if not self._is_up:
            raise ServerDown
        turn = self.assembly.house.turn("batch")
        return turn.read(lambda call: explain(call, {"jobId": job_id}))

    async def insist(self, service: str, operation: str, request: dict[str, Any]) -> Any:
        """Asks until the server is up and answers; for what may be done twice."""
        while True:
            with contextlib.suppress(ServerDown):
                return await self.call(service, operation, request)
            await asyncio.sleep(0.5)

    # Time.

    def run(self, work: Awaitable[T]) -> T:
        async def waited() -> T:
            return await work

        result = self.loop.run_until_complete(waited())
        if self.trouble is not None:
            raise self.trouble
        return result

    def strike(self) -> None:
        """Faults begin."""
        self.faults = self._faults_to_come
        self._background.append(self.loop.create_task(self._blows()))
        if self.faults.seconds_between_jumps:
            self._background.append(self.loop.create_task(self._jumps()))

    def spare(self) -> None:
        """Faults end."""
        self.faults = NO_FAULTS

    async def _blows(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / self.faults.seconds_between_blows))
            if self.faults is NO_FAULTS:
                return
            there = self.indoors.instances()
            blow = self.random.random()
            if blow < 0.15:
                await self._take_policy_away()
            elif not there:
                continue
            elif blow < 0.55:
                struck = self.random.choice(there)
                if self.faults.shelf_is_older and self.random.random() < self.faults.shelf_is_older:
                    self._background.append(self.loop.create_task(self._bring_back_older(struck)))
                else:
                    self.struck["an agent dies"] += 1
                    self.indoors.crash(struck)
            elif blow < 0.85 and self._streams:
                self.struck["a stream breaks"] += 1
                self.random.choice(self._streams)._served.cancel()
            else:
                struck = self.random.choice(there)
                self.struck["a machine fails"] += 1
                self.failed.add(self.indoors._places[struck].runtime)
                self.machines.fail(struck)

    async def _bring_back_older(self, instance_id: str) -> None:
        """The agent dies, and the next one finds what this one had written down a while before."""
        place = self.indoors._places[instance_id]
        kept = dict(place.shelf._documents)
        if "agent/registration" not in kept:
            return  # An agent without its registration is a new container instance, as at AWS, and the old one stays.
        await asyncio.sleep(self.random.uniform(0.1, 15.0))
        if self.indoors._places.get(instance_id) is not place or place.agent is None or place.agent.done():
            return
        self.indoors.crash(instance_id)
        await asyncio.wait((place.agent,))
        place.shelf._documents = kept
        self.struck["an agent comes back with older state"] += 1

    async def _jumps(self) -> None:
        while True:
            await asyncio.sleep(self.random.expovariate(1 / self.faults.seconds_between_jumps))
            if self.faults is NO_FAULTS:
                return
            width = self.random.choice((1.0, 60.0, 600.0, 6 * 3600.0))
            seconds = self.random.uniform(-min(width, 600.0), width)
            self.struck[f"the clock jumps {'forward' if seconds > 0 else 'back'}"] += 1
            self.clock.ahead += timedelta(seconds=seconds)

    def later(self, sender: FaultyTransport, ask: Callable[[], Coroutine[Any, Any, Any]], kind: str) -> None:
        """What was sent arrives seconds from now, and nobody waits for its answer."""
        self._background.append(self.loop.create_task(self._later(sender, ask, kind)))

    async def _later(self, sender: FaultyTransport, ask: Callable[[], Coroutine[Any, Any, Any]], kind: str) -> None:
        served = sender.served
        await asyncio.sleep(self.random.uniform(0.3, 20.0))
        if self._is_up:
            self.struck[kind] += 1
            self.struck["requests are reordered"] += sender.served > served
            with contextlib.suppress(AwsError, ServerDown):
                await self.serve(ask())

    def lives(self, attempt: tuple[str, str]) -> bool:
        """Whether its container runs now, on a machine that is there."""
        runtime, container_id = self.containers.where.get(attempt, (None, ""))
        return (
            runtime is not None
            and runtime.lives(container_id)
            and any(
                place.runtime is runtime and instance_id in self.machines._machines
                for instance_id, place in self.indoors._places.items()
            )
        )

    async def _take_policy_away(self) -> None:
        self.struck["a policy is taken away"] += 1
        policy = {"RoleName": "ecsInstanceRole", "PolicyArn": POLICY}
        with contextlib.suppress(AwsError):
            await self.insist("iam", "DetachRolePolicy", policy)
        await asyncio.sleep(self.random.uniform(0.5, 15.0))
        await self.insist("iam", "AttachRolePolicy", policy)

    def close(self) -> None:
        pending = asyncio.all_tasks(self.loop)
        for task in pending:
            task.cancel()
        if pending:
            self.loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self.loop.close()
        self._disk.close()


class FaultyTransport:
    """Between an agent and whichever server is there now."""

    def __init__(self, world: World, inner: HouseTransport) -> None:
        self._world = world
        self._order = inner.order
        self.served = 0  # requests that arrived in their time

    def _inner(self) -> HouseTransport:
        house = self._world.assembly.house
        return HouseTransport(house, self._world.assembly.gateway, house.ports["imds"], self._order)

    async def _serve(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        world, faults, chance = self._world, self._world.faults, self._world.random.random
        struck = world.struck
        if chance() < faults.delayed:
            struck["a request is delayed"] += 1
            await asyncio.sleep(world.random.uniform(0, 0.3))
        if not world._is_up:
            await asyncio.sleep(0.001)
            raise TransportError("connection refused")
        if chance() < faults.request_lost:
            struck["a request is lost"] += 1
            raise TransportError("the request was lost")
        if faults.given_up and chance() < faults.given_up:
            world.later(self, ask, "a request that was given up arrives")
            raise TransportError("the request took too long")
        if faults.doubled_late and chance() < faults.doubled_late:
            world.later(self, ask, "a request arrives again later")
        try:
            if chance() < faults.request_doubled:
                struck["a request is doubled"] += 1
                with contextlib.suppress(AwsError):
                    await world.serve(ask())
            answer = await world.serve(ask())
        except ServerDown as down:
            raise TransportError("connection reset") from down
        self.served += 1
        if faults.answer_late and chance() < faults.answer_late:
            struck["an answer is late"] += 1
            await asyncio.sleep(world.random.uniform(0.5, 15.0))
        if chance() < faults.answer_lost:
            struck["an answer is lost"] += 1
            raise TransportError("the answer was lost")
        return answer

    async def aws(
        self, service: str, operation: str, params: dict[str, Any], credentials: Credentials
    ) -> dict[str, Any]:
        return await self._serve(lambda: self._inner().aws(service, operation, params, credentials))

    async def metadata(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        return await self._serve(lambda: self._inner().metadata(method, path, headers))

    async def open_stream(self, url: str, service: str, credentials: Credentials, query: Mapping[str, str]) -> Any:
        if not self._world._is_up:
            await asyncio.sleep(0.001)
            raise TransportError("connection refused")
        try:
            stream = await self._world.serve(self._inner().open_stream(url, service, credentials, query))
        except ServerDown as down:
            raise TransportError("connection reset") from down
        self._world._streams.append(stream)
        return stream


POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
