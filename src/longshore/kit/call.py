"""All that is not in the request. An operation is a function of (call, request, state), and runs the same in a simulation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from longshore.aws.principal import Principal
from longshore.kit.access import Context, Question
from longshore.kit.event import Event

if TYPE_CHECKING:
    from longshore.aws.ids import Ids
    from longshore.kit.house import House
    from longshore.kit.operation import Response
    from longshore.store.engine import Transaction

GLOBAL_SERVICES = frozenset({"iam", "sts"})  # Their ARNs bear no region.


class Call:
    """One call of one operation, or one turn of a loop, inside one transaction."""

    __slots__ = (
        "account", "endpoint", "house", "now", "operation", "principal", "region", "request_id", "resource",
        "service", "source_ip", "transaction", "user_agent", "via_service",
    )  # fmt: skip

    def __init__(
        self,
        *,
        house: House,
        service: str,
        operation: str,
        principal: Principal,
        region: str,
        transaction: Transaction,
        now: datetime,
        request_id: str,
        endpoint: str,
        source_ip: str = "127.0.0.1",
        user_agent: str = "",
        via_service: str | None = None,
    ) -> None:
        self.house = house
        self.service = service  # "batch"
        self.operation = operation  # "SubmitJob"
        self.principal = principal
        self.account = principal.account
        self.region = region
        self.transaction = transaction
        self.now = now
        self.request_id = request_id
        self.endpoint = endpoint  # "http://127.0.0.1:4570", as the caller reached us
        self.source_ip = source_ip
        self.user_agent = user_agent
        self.resource: str | None = None  # the first that the caller was asked about, for the trail
        self.via_service = via_service  # the service that calls for the principal (aws:ViaAWSService); None: itself

    @property
    def ids(self) -> Ids:
        return self.house.ids

    def arn(self, resource: str, *, service: str | None = None) -> str:
        """`arn:aws:batch:us-east-1:123456789012:<resource>`; IAM's and STS's have no region."""
        service = service or self.service
        region = "" if service in GLOBAL_SERVICES else self.region
        return f"arn:aws:{service}:{region}:{self.account}:{resource}"

    def is_heard(self, detail_type: str, **facts: str) -> bool:
        """Whether anybody hears such an event: for those whose detail costs something to make."""
        return self.house.outbox.hears(detail_type, facts)

    def emit(self, detail_type: str, resource: str, detail: dict[str, Any], *, source: str | None = None) -> None:
        """Writes an event to the outbox in this transaction; subscribers hear it after the commit, at least once."""
        self.house.outbox.append(
            self.transaction,
            Event(
                source=source or f"aws.{self.service}",
                detail_type=detail_type,
                account=self.account,
                region=self.region,
                time=self.now,
                resource=resource,
                detail=detail,
            ),
        )

    def wake(self, loop: str) -> None:
        """Has the loop of that name take a turn after the commit."""
        self.transaction.after_commit(lambda: self.house.wake(loop))

    def after_commit(self, function: Callable[[], None]) -> None:
        """Runs once the change is durable; never after a roll-back. For caches and memory, not for work."""
        self.transaction.after_commit(function)

    def is_allowed(self, action: str, resource: str = "*", context: Context | None = None) -> bool:
        return self.house.authorizer.decide(self, Question(action, resource, context or {})).allowed

    def require(self, action: str, resource: str = "*", context: Context | None = None) -> None:
        """Asks a further question as the caller (PassRole, TagRole, CreateServiceLinkedRole).

        AccessDenied (in the service's own form) when the caller may not.
        """
        self.house.authorizer.require(self, Question(action, resource, context or {}))

    def as_service(self, name: str | None = None) -> Principal:
        """The service principal of this room in the caller's account: `batch` -> `batch.amazonaws.com`."""
        from longshore.aws.principal import service

        return service(name or f"{self.service}.amazonaws.com", self.account)

    def assume(
        self, role_arn: str, service: str, *, session_name: str | None = None, source_arn: str | None = None
    ) -> Principal:
        """The session that `service` (`batch.amazonaws.com`) gets of a role: its trust policy is asked.

        `source_arn`: the customer's resource for which the service takes it (aws:SourceArn).
        AccessDenied when the role is not there or does not trust the service.
        """
        return self.house.authorizer.assume(self, role_arn, service, session_name=session_name, source_arn=source_arn)

    def peer(self, service: str, operation: str, request: dict[str, Any], *, as_: Principal) -> Response:
        """Another room's operation, in this transaction, entering the chain at *authorize*: same policies, same checks.

        AwsError as that operation answers it; what it had written is rolled back, this call's own writes are not.
        A service principal (`call.as_service()`) may only read: to write, a service needs a role.
        """
        return self.house.peers.call(self, service, operation, request, as_)
