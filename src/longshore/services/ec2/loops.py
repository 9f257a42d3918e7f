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
TERMINATIONS_LOOP = "ec2.terminations"
_KEPT = timedelta(hours=1)  # EC2 user guide: a terminated instance stays visible for a while, about an hour
_TOKENS_KEPT = timedelta(hours=24)
# EC2 user guide, "Instance console output": posted shortly after a transition, not at each call.
# Later on AWS posts no more by itself; here it goes on, so that one can see why an agent does not come.
_CONSOLE_AFTER = (timedelta(seconds=2), timedelta(seconds=18), timedelta(minutes=1))
_AGAIN = timedelta(seconds=1)  # after which a termination that failed is tried again
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
                call.wake(TERMINATIONS_LOOP)
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
        self._consoles: dict[str, _Posting] = {}  # of the running instances

    async def tick(self, house: House, now: datetime) -> datetime | None:
        if self._machines is None:
            machines = self._attach(house)
            await self._reconcile(house, machines)
            self._machines = machines
        await self._take_reports(house)
        await self._launch_all(house, self._machines)
        await self._take_reports(house)
        await self._post_consoles(house, self._machines)
        return await self._forget(house, house.now())

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
            if instance_id in there and instance.state in ("pending", "running"):
                self._reports.append((instance_id, "running", None))
            if instance_id not in there and instance.state == "running":
                self._reports.append((instance_id, "terminated", None))

    async def _take_reports(self, house: House) -> None:
        while self._reports:
            instance_id, state, reason = self._reports[0]
            if state == "running":
                await _step(house, instance_id, MachineRunning())
                self._consoles[instance_id] = _Posting(house.now())
            else:
                gone = MachineGone() if reason is None else MachineGone("Server.InternalError", reason)
                await _step(house, instance_id, gone)
            self._reports.popleft()  # Only now: what could not be written down is taken in again.

    async def _launch_all(self, house: House, machines: Machines) -> None:
        pending = house.store.read(lambda transaction: store.in_state(transaction, "pending"))
        await asyncio.gather(*(self._launch(house, machines, instance) for instance in pending))

    async def _launch(self, house: House, machines: Machines, instance: Instance) -> None:
        instance_id = instance.instance_id
        tags = house.store.read(
            lambda transaction: store.tags_of(transaction, instance.account, instance.region, instance_id)
        )
        try:
            await machines.launch(launch_order(instance, tags))
        except InsufficientCapacity as error:
            message = (
                f"Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request ({error})"
            )
            await _step(house, instance_id, LaunchFailed("Server.InsufficientInstanceCapacity", message))
        except Exception as error:
            log.exception("launch failed", instance_id=instance_id)
            message = f"Server.InternalError: Internal error on launch ({error})"
            await _step(house, instance_id, LaunchFailed("Server.InternalError", message))
        current = house.store.read(lambda transaction: store.find(transaction, instance_id))
        if current is None or current.state not in ("pending", "running"):
            # It was ended while it was launched, or could not be; the other loop may have found nothing to end yet.
            await machines.terminate(instance_id)

    async def _post_consoles(self, house: House, machines: Machines) -> None:
        now = house.now()
        for instance_id, posting in list(self._consoles.items()):
            if posting.due_at > now:
                continue
            if not house.store.read(partial(_is_living, instance_id=instance_id)):
                del self._consoles[instance_id]
                continue
            posting.posted += 1
            posting.due_at = now + _CONSOLE_AFTER[min(posting.posted, len(_CONSOLE_AFTER) - 1)]
            posting.seen = await _post_console(house, machines, instance_id, posting.seen)

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
        times = [posting.due_at for posting in self._consoles.values()]
        if oldest is not None:
            times.append(from_milliseconds(oldest) + _KEPT)
        return min(times, default=None)


class TerminationsLoop:
    """Ends machines. A loop of its own: an end can take long, and no launch should wait for it."""

    name = TERMINATIONS_LOOP

    async def tick(self, house: House, now: datetime) -> datetime | None:
        machines: Machines = house.ports["machines"]
        ending = house.store.read(lambda transaction: store.in_state(transaction, "shutting-down"))
        ended = await asyncio.gather(*(self._terminate(house, machines, instance) for instance in ending))
        return None if all(ended) else now + _AGAIN

    async def _terminate(self, house: House, machines: Machines, instance: Instance) -> bool:
        """False: it could not be ended now."""
        try:
            await _post_console(house, machines, instance.instance_id, b"")
            await machines.terminate(instance.instance_id)
        except Exception:
            log.exception("termination failed", instance_id=instance.instance_id)
            return False
        await _step(house, instance.instance_id, MachineGone())
        return True


def _is_living(transaction: Transaction, instance_id: str) -> bool:
    instance = store.find(transaction, instance_id)
    return instance is not None and instance.is_living


class _Posting:
    """When an instance's console is posted next."""

    def __init__(self, now: datetime) -> None:
        self.posted = 0
        self.due_at = now + _CONSOLE_AFTER[0]
        self.seen = b""  # what was posted last


async def _post_console(house: House, machines: Machines, instance_id: str, seen: bytes) -> bytes:
    """Posts what the console says now, unless that is what was seen before; what it says."""
    output = (await machines.console_output(instance_id))[-_CONSOLE_BYTES:]
    if not output or output == seen:
        return seen
    posted_at_ms = milliseconds(house.now())
    await house.store.write(lambda transaction: store.post_console(transaction, instance_id, output, posted_at_ms))
    return output


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
