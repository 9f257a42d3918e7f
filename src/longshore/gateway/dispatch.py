"""Running an operation: authorize, check the form, act; inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longshore.aws import model as models
from longshore.aws.errors import AwsError
from longshore.aws.principal import Principal
from longshore.aws.shapes import check
from longshore.gateway.authorize import Authorizer
from longshore.gateway.ports import Trail, TrailEntry
from longshore.kit.call import Call
from longshore.kit.house import House
from longshore.kit.operation import Operation, Request, Response
from longshore.kit.service import Service

# What a row of an access table trips over when a request lacks its form. The check that follows says so in AWS's words.
_FORMLESS = (KeyError, TypeError, AttributeError, IndexError, ValueError)


class Dispatcher:
    """Carries calls to the rooms: those from outside, and those of one room to another (`Peers`)."""

    def __init__(self, house: House, services: Mapping[str, Service], authorizer: Authorizer, trail: Trail) -> None:
        self._house = house
        self._services = services
        self._authorizer = authorizer
        self._trail = trail

    def operation(self, service: str, name: str) -> Operation:
        """AwsError: the model has the operation, and Longshore does not offer it."""
        room = self._services.get(service)
        found = room.operation(name) if room is not None else None
        if found is None:
            raise not_offered(service, name)
        return found

    def run(self, call: Call, operation: Operation, request: Request) -> Response:
        room = self._services[call.service]
        row = room.access.get(call.operation)
        form = models.model(call.service).operations[call.operation]
        try:
            resource = self._authorizer.authorize(call, row, request)
        except _FORMLESS:
            check(form, request)
            raise
        check(form, request)
        call.resource = resource
        return operation.handler(call, request)

    def call(self, call: Call, service: str, operation: str, request: dict[str, Any], as_: Principal) -> Response:
        """A room's call of another room (`call.peer`): in the same transaction, under the same policies."""
        found = self.operation(service, operation)
        inner = Call(
            house=self._house,
            service=service,
            operation=operation,
            principal=as_,
            region=call.region,
            transaction=call.transaction,
            now=call.now,
            request_id=call.request_id,
            endpoint=call.endpoint,
            source_ip=f"{call.service}.amazonaws.com",
            user_agent=f"{call.service}.amazonaws.com",
            via_service=f"{call.service}.amazonaws.com",
        )
        try:
            answer = call.transaction.savepoint(lambda: self.run(inner, found, request))
        except AwsError as error:
            self.tell(inner, found.writes, error, request)
            raise
        # A service's mere looking is not told: it would drown what customers want to find.
        if found.writes or operation == "AssumeRole":
            call.transaction.after_commit(lambda: self.tell(inner, found.writes, None, request, answer))
        return answer

    def tell(
        self,
        call: Call,
        writes: bool,
        error: AwsError | None,
        request: Mapping[str, Any] | None = None,
        response: Mapping[str, Any] | None = None,
    ) -> None:
        self._trail.record(
            TrailEntry(
                time=call.now,
                request_id=call.request_id,
                principal=call.principal,
                service=call.service,
                operation=call.operation,
                region=call.region,
                source_ip=call.source_ip,
                user_agent=call.user_agent,
                read_only=not writes,
                resource=call.resource,
                error_code=error.code if error else None,
                error_message=error.message if error else None,
                invoked_by=call.via_service,
                request=request,
                # CloudTrail user guide, "Logging IAM and AWS STS API calls": of reads, those that hand out a session tell whose.
                response=response if writes or (response and "Credentials" in response) else None,
            )
        )


def not_offered(service: str, operation: str) -> AwsError:
    """What AWS answers for an operation that a service does not offer, in that service's form."""
    text = f"The operation {operation} is not offered by this endpoint."
    if service in ("iam", "sts"):
        return AwsError("InvalidAction", text, status=400)
    if service == "ec2":
        return AwsError("UnsupportedOperation", text, status=400)
    if service == "batch":
        return AwsError("ClientException", text, status=400)
    return AwsError("UnsupportedOperationException", text, status=400)
