"""Makes instances real: machines are launched and terminated, and what they report becomes state."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from datetime import datetime, timedelta
from functools import partial

import structlog

from longshore.aws.clock import from_milliseconds, milliseconds
from longshore.kit.call import Call
from longshore.kit.house import House, Turn
from longshore.services.ec2 import store
from longshore.services.ec2.images import IMAGES
from longshore.services.ec2.instance_types import INSTANCE_TYPES
from longshore.services.ec2.lifecycle import (
    Event,
    LaunchFailed,
    MachineGone,
    MachineRunning,
    StateChanged,
    TerminateMachine,
    step,
)
from longshore.services.ec2.machines.base import InsufficientCapacity, LaunchOrder, Machines, MachineState
from longshore.services.ec2.records import Instance
from longshore.store.engine import Transaction

log = structlog.get_logger("longshore.ec2")

INSTANCES_LOOP = "ec2.instances"
_KEPT = timedelta(hours=1)  # EC2 user guide: a terminated instance stays visible for a while, about an hour
_TOKENS_KEPT = timedelta(hours=24)
# EC2 user guide, "Instance console output": posted shortly after a transition, not at each call.
_CONSOLE_AFTER = (timedelta(seconds=2), timedelta(seconds=20), timedelta(minutes=2))
_CONSOLE_BYTES = 64 * 1024


def apply(call: Call, instance: Instance, event: Event) -> Instance:
    """Moves an instance along, in the transaction of `call`: keeps it, tells of it, wakes whom it concerns."""
    after, effects = step(instance, event, call.now)
    if after is not instance:
        store.save(call.transaction, after)
    for effect in effects:
        match effect:
            case StateChanged(state, reason):
                tell(call, after, state, reason)
            case TerminateMachine():
                call.wake(INSTANCES_LOOP)
    return after


def tell(call: Call, instance: Instance, state: str, reason: str | None = None) -> None:
    """Source: EC2 user guide, "Amazon EC2 instance state change events". `reason` is ours."""
    detail = {"instance-id": instance.instance_id, "state": state}
    if reason is not None:
        detail["reason"] = reason
    call.emit("EC2 Instance State-change Notification", instance.arn, detail)


class InstancesLoop:
    """One for all accounts and regions. What it finds in the tables at any moment is enough to go on from."""

    name = INSTANCES_LOOP

    def __init__(self) -> None:
        self._reports: deque[tuple[str, MachineState, str | None]] = deque()
        self._machines: Machines | None = None
        self._console_due: dict[str, deque[datetime]] = {}

    async def tick(self, house: House, now: datetime) -> datetime | None:
        if self._machines is None:
            self._machines = self._attach(house)
            await self._reconcile(house, self._machines)
        await self._take_reports(house)
        await self._launch_all(house, self._machines)
        await self._take_reports(house)
        await self._terminate_all(house, self._machines)
        await self._post_consoles(house, self._machines, now)
        return await self._forget(house, now)

    def _attach(self, house: House) -> Machines:
        machines: Machines = house.ports["machines"]

        def on_report(instance_id: str, state: MachineState, reason: str | None) -> None:
            self._reports.append((instance_id, state, reason))
            house.wake(self.name)

        machines.on_report = on_report
        return machines

    async def _reconcile(self, house: House, machines: Machines) -> None:
        """At the start: rows and machines are brought together. Machines without a row end; rows without one, too."""
        there = {status.instance_id for status in await machines.list() if status.state == "running"}
        wanted: dict[str, Instance] = {
            instance.instance_id: instance
            for state in ("pending", "running", "shutting-down")
            for instance in house.store.read(partial(store.in_state, state=state))
        }
        for instance_id in sorted(there - wanted.keys()):
            log.warning("machine without an instance", instance_id=instance_id)
            await machines.terminate(instance_id)
        for instance_id, instance in wanted.items():
            if instance_id in there and instance.state == "pending":
                self._reports.append((instance_id, "running", None))
            if instance_id not in there and instance.state == "running":
                self._reports.append((instance_id, "terminated", None))

    async def _take_reports(self, house: House) -> None:
        while self._reports:
            instance_id, state, reason = self._reports.popleft()
            if state == "running":
                await _step(house, instance_id, MachineRunning())
                now = house.now()
                self._console_due[instance_id] = deque(now + after for after in _CONSOLE_AFTER)
            else:
                gone = MachineGone() if reason is None else MachineGone("Server.InternalError", reason)
                await _step(house, instance_id, gone)

    async def _launch_all(self, house: House, machines: Machines) -> None:
        pending = house.store.read(lambda transaction: store.in_state(transaction, "pending"))
        await asyncio.gather(*(self._launch(house, machines, instance) for instance in pending))

    async def _launch(self, house: House, machines: Machines, instance: Instance) -> None:
        tags = house.store.read(
            lambda transaction: store.tags_of(transaction, instance.account, instance.region, instance.instance_id)
        )
        try:
            await machines.launch(launch_order(instance, tags))
        except InsufficientCapacity as error:
            message = (
                f"Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request ({error})"
            )
            await _step(house, instance.instance_id, LaunchFailed("Server.InsufficientInstanceCapacity", message))
        except Exception as error:
            log.exception("launch failed", instance_id=instance.instance_id)
            message = f"Server.InternalError: Internal error on launch ({error})"
            await _step(house, instance.instance_id, LaunchFailed("Server.InternalError", message))

    async def _terminate_all(self, house: House, machines: Machines) -> None:
        ending = house.store.read(lambda transaction: store.in_state(transaction, "shutting-down"))
        await asyncio.gather(*(self._terminate(house, machines, instance) for instance in ending))

    async def _terminate(self, house: House, machines: Machines, instance: Instance) -> None:
        await self._post_console(house, machines, instance.instance_id)
        self._console_due.pop(instance.instance_id, None)
        await machines.terminate(instance.instance_id)
        await _step(house, instance.instance_id, MachineGone())

    async def _post_consoles(self, house: House, machines: Machines, now: datetime) -> None:
        for instance_id, due in list(self._console_due.items()):
            if due and due[0] <= now:
                while due and due[0] <= now:
                    due.popleft()
                await self._post_console(house, machines, instance_id)
            if not due:
                del self._console_due[instance_id]

    async def _post_console(self, house: House, machines: Machines, instance_id: str) -> None:
        output = (await machines.console_output(instance_id))[-_CONSOLE_BYTES:]
        if output:
            posted_at_ms = milliseconds(house.now())
            await house.store.write(
                lambda transaction: store.post_console(transaction, instance_id, output, posted_at_ms)
            )

    async def _forget(self, house: House, now: datetime) -> datetime | None:
        """Drops what ended long ago. When there is next something to do at a certain time."""
        oldest = house.store.read(store.oldest_end_ms)
        if oldest is not None and from_milliseconds(oldest) + _KEPT <= now:
            before = milliseconds(now - _KEPT)

            def forget(transaction: Transaction) -> None:
                store.forget_ended(transaction, before)
                store.forget_tokens(transaction, milliseconds(now - _TOKENS_KEPT))

            await house.store.write(forget)
            oldest = house.store.read(store.oldest_end_ms)
        times = [due[0] for due in self._console_due.values() if due]
        if oldest is not None:
            times.append(from_milliseconds(oldest) + _KEPT)
        return min(times, default=None)


def launch_order(instance: Instance, tags: dict[str, str]) -> LaunchOrder:
    """The instance as a kind of machine is asked for it."""
    kind = INSTANCE_TYPES[instance.instance_type]
    image = IMAGES[instance.image_id]
    options = instance.metadata_options
    return LaunchOrder(
        instance_id=instance.instance_id,
        account=instance.account,
        region=instance.region,
        instance_type=kind.name,
        vcpus=kind.vcpus,
        memory_mib=kind.memory_mib,
        private_ip=instance.private_ip,
        user_data=base64.b64decode(instance.user_data or "").decode("utf-8", "replace"),
        starts_agent=image.starts_agent,
        metadata_options={
            "HttpTokens": options.http_tokens,
            "HttpPutResponseHopLimit": options.hop_limit,
            "HttpEndpoint": options.http_endpoint,
        },
        tags=tags,
        architecture=kind.architecture,
    )


async def _step(house: House, instance_id: str, event: Event) -> None:
    """One transition in one transaction, on the instance as it then is."""
    instance = house.store.read(lambda transaction: store.find(transaction, instance_id))
    if instance is None:
        return
    turn: Turn = house.turn("ec2", account=instance.account, region=instance.region)

    def act(call: Call) -> None:
        current = store.find(call.transaction, instance_id)
        if current is not None:
            apply(call, current, event)

    await turn.write(act)
