"""Puts a house together and keeps its loops turning."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

from longshore.aws.clock import Clock
from longshore.aws.ids import Ids
from longshore.aws.principal import Principal, root
from longshore.gateway.app import Gateway
from longshore.gateway.authenticate import Authenticator
from longshore.gateway.authorize import Authorizer
from longshore.gateway.dispatch import Dispatcher
from longshore.imds.app import responder
from longshore.kit import runner
from longshore.kit.call import Call
from longshore.kit.events import Outbox, deliveries
from longshore.kit.house import House
from longshore.kit.loop import Loop
from longshore.kit.operation import Response
from longshore.kit.sealing import IdentityDocuments, Sealer
from longshore.server.indoors import Indoors
from longshore.server.keys import RootKeys
from longshore.server.pages import create_pages
from longshore.services.batch.service import SERVICE as BATCH
from longshore.services.cloudtrail.service import SERVICE as CLOUDTRAIL
from longshore.services.cloudtrail.trail import USES, Trail
from longshore.services.ec2.machines.base import Machines
from longshore.services.ec2.machines.memory import MemoryMachines
from longshore.services.ec2.machines.none import NoMachines
from longshore.services.ec2.metadata import MetadataService
from longshore.services.ec2.service import SERVICE as EC2
from longshore.services.ecs.service import SERVICE as ECS
from longshore.services.iam import entitlements, identities, last_used
from longshore.services.iam.service import SERVICE as IAM
from longshore.services.logs.service import SERVICE as LOGS
from longshore.services.sts import sessions
from longshore.services.sts.operations.identity import KEYS
from longshore.services.sts.service import SERVICE as STS
from longshore.settings import Settings
from longshore.store.engine import Store, Transaction

# What is handed to rooms here. All else that is found beside it is a room's own memory.
_PORTS = ("imds", "machines", USES, KEYS)

SERVICES = {room.name: room for room in (IAM, STS, EC2, ECS, BATCH, LOGS, CLOUDTRAIL)}


class Identities:
    """Long-term keys are IAM's, session keys are STS's."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def find(
        self, transaction: Transaction, access_key_id: str, token: str | None, now: datetime
    ) -> tuple[Principal, str]:
        if token is not None:
            return sessions.open_session(self._sealer, access_key_id, token, now)
        return identities.access_key(transaction, access_key_id, now, self._sealer)


class Assembly:
    """A house with its door. `start` begins the background work, `stop` ends it; both may be repeated."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        clock: Clock,
        ids: Ids,
        sealer: Sealer,
        identity_documents: IdentityDocuments,
        root_keys: RootKeys,
    ) -> None:
        self.settings = settings
        self.house = House(
            settings=settings, store=store, clock=clock, ids=ids, sealer=sealer, identity_documents=identity_documents
        )
        house = self.house
        found = Identities(sealer)
        authorizer = Authorizer(entitlements, found)
        self.trail = Trail(house)
        self.dispatcher = Dispatcher(house, SERVICES, authorizer, self.trail)
        house.authorizer = authorizer
        house.peers = self.dispatcher
        house.outbox = Outbox(house, SERVICES.values())
        self.root_keys = root_keys
        self._root = root(settings.account, root_keys.access_key_id)
        authenticator = Authenticator(
            store,
            found,
            account=settings.account,
            root_key=root_keys.access_key_id,
            root_secret=root_keys.secret_access_key,
        )
        self.is_ready = False
        pages = create_pages(lambda: self.is_ready, self.reset if settings.for_tests else None)
        self.gateway = Gateway(
            house, SERVICES, authenticator=authenticator, authorizer=authorizer, dispatcher=self.dispatcher, pages=pages
        )
        metadata = MetadataService(house, responder(house))
        house.ports["imds"] = metadata
        house.ports[USES] = (last_used.observe,)
        house.ports[KEYS] = self._account_of_key
        self.indoors = Indoors(house, self.gateway, metadata)
        # `local` machines need the supervisor: run.py makes them.
        self.use(MemoryMachines(house, self.indoors) if settings.machines == "memory" else NoMachines())
        self._tasks: list[asyncio.Task[None]] = []
        self._forget()

    def _account_of_key(self, transaction: Transaction, access_key_id: str) -> str | None:
        if access_key_id == self.root_keys.access_key_id:
            return self.settings.account
        return identities.account_of(transaction, access_key_id)

    def use(self, machines: Machines) -> None:
        """What instances run on. Before `start`."""
        self.machines = machines
        self.house.ports["machines"] = machines

    async def start(self) -> None:
        await self.machines.start()
        loops: list[Loop] = [make() for room in SERVICES.values() for make in room.loops]
        work: list[Coroutine[Any, Any, None]] = [self.trail.run()]
        work += [delivery.run() for delivery in deliveries(self.house, SERVICES.values())]
        work += [runner.run(self.house, loop) for loop in loops]
        self._tasks = [asyncio.get_running_loop().create_task(each) for each in work]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def close(self) -> None:
        """The end: of the loops, and of every instance."""
        await self.stop()
        await self.machines.close(stop_instances=True)

    async def call_as_root(self, service: str, operation: str, request: dict[str, Any]) -> Response:
        """An operation as the account's root user, through the same checks as from outside."""
        found = self.dispatcher.operation(service, operation)

        def run(transaction: Transaction) -> Response:
            call = Call(
                house=self.house,
                service=service,
                operation=operation,
                principal=self._root,
                region=self.settings.region,
                transaction=transaction,
                now=self.house.clock.now(),
                request_id=self.house.ids.uuid(),
                endpoint=self.house.endpoint,
            )
            return self.dispatcher.run(call, found, request)

        if found.writes:
            return await self.house.store.write(run)
        return self.house.store.read(run)

    async def reset(self) -> None:
        """Back to an empty account: nothing remembered, every instance ended."""
        await self.stop()
        there = await self.machines.list()
        await asyncio.gather(*(self.machines.terminate(each.instance_id) for each in there))
        await self.house.store.write(_empty)
        self._forget()
        await self.start()

    def _forget(self) -> None:
        """What rooms remember of the database, and what was cached under identity versions, which begin anew with each."""
        ours = {name: port for name, port in self.house.ports.items() if name in _PORTS}
        self.house.ports.clear()
        self.house.ports.update(ours)
        entitlements.forget()
        sessions.forget()


def _empty(transaction: Transaction) -> None:
    from sqlalchemy import delete

    from longshore.store.statement import METADATA, Statement

    for table in METADATA.sorted_tables:
        transaction.run(Statement(delete(table)))
    transaction.known.clear()
