"""What a running house consists of, as the rooms may know it: ports and ground, no room by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from longshore.aws.principal import Principal, service
from longshore.kit.access import Question
from longshore.kit.call import Call

if TYPE_CHECKING:
    from longshore.aws.clock import Clock
    from longshore.aws.errors import AwsError
    from longshore.aws.ids import Ids
    from longshore.kit.event import Event
    from longshore.kit.operation import Response
    from longshore.kit.sealing import IdentityDocuments, Sealer
    from longshore.settings import Settings
    from longshore.store.engine import Store, Transaction

T = TypeVar("T")


class Decision(Protocol):
    @property
    def allowed(self) -> bool: ...
    @property
    def because(self) -> str: ...  # the end of AWS's message; empty when allowed


class Authorizer(Protocol):
    def decide(self, call: Call, question: Question) -> Decision: ...
    def require(self, call: Call, question: Question) -> None: ...
    def open_keys(self, call: Call, question: Question, unknown: frozenset[str]) -> frozenset[str]: ...
    def assume(
        self, call: Call, role_arn: str, service: str, *, session_name: str | None = None, source_arn: str | None = None
    ) -> Principal: ...


class Peers(Protocol):
    def call(self, call: Call, service: str, operation: str, request: dict[str, Any], as_: Principal) -> Response: ...
    def tell(self, call: Call, writes: bool, error: AwsError | None) -> None: ...


class Outbox(Protocol):
    def hears(self, detail_type: str, facts: Mapping[str, str] = ...) -> bool: ...
    def append(self, transaction: Transaction, event: Event) -> None: ...


class Turn:
    """A standing from which transactions can be run: who acts, in which account and region, over which endpoint."""

    def __init__(self, house: House, service: str, principal: Principal, region: str, endpoint: str) -> None:
        self.house = house
        self.service = service
        self.principal = principal
        self.account = principal.account
        self.region = region
        self.endpoint = endpoint

    def call(self, transaction: Transaction) -> Call:
        return Call(
            house=self.house,
            service=self.service,
            operation="",
            principal=self.principal,
            region=self.region,
            transaction=transaction,
            now=self.house.clock.now(),
            request_id=self.house.ids.uuid(),
            endpoint=self.endpoint,
        )

    async def write(self, function: Callable[[Call], T]) -> T:
        """Runs `function` in a transaction; returns when its change is durable."""
        return await self.house.store.write(lambda transaction: function(self.call(transaction)))

    def read(self, function: Callable[[Call], T]) -> T:
        """Runs `function` on a snapshot, at once."""
        return self.house.store.read(lambda transaction: function(self.call(transaction)))


class House:
    """The ground and the ports. `server.py` makes one; a simulation makes one per life of its server."""

    def __init__(
        self, *, settings: Settings, store: Store, clock: Clock, ids: Ids, sealer: Sealer,
        identity_documents: IdentityDocuments,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.store = store
        self.clock = clock
        self.ids = ids
        self.sealer = sealer
        self.identity_documents = identity_documents
        self.endpoint = f"http://{settings.host}:{settings.port}"
        # Set by server.py before anything runs.
        self.authorizer: Authorizer
        self.peers: Peers
        self.outbox: Outbox
        self.wakers: dict[str, Callable[[], None]] = {}
        self.ports: dict[str, Any] = {}  # what server.py hands to one room by name: ec2's kind of machines, say

    def turn(self, service_name: str, *, account: str | None = None, region: str | None = None) -> Turn:
        """A room acting of its own accord: `house.turn("batch")` acts as batch.amazonaws.com."""
        principal = service(f"{service_name}.amazonaws.com", account or self.settings.account)
        return Turn(self, service_name, principal, region or self.settings.region, self.endpoint)

    def wake(self, loop: str) -> None:
        waker = self.wakers.get(loop)
        if waker is not None:
            waker()

    def now(self) -> datetime:
        return self.clock.now()
