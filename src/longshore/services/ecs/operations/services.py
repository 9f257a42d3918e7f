"""Services: there are none, and that is what is answered. Batch uses none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.kit.operation import Request, Response, operation
from longshore.services.ecs import references

if TYPE_CHECKING:
    from longshore.kit.call import Call


@operation
def list_services(call: Call, request: Request) -> Response:
    references.find_cluster(call, request.get("cluster"))
    return {"serviceArns": []}


@operation
def describe_services(call: Call, request: Request) -> Response:
    cluster = references.find_cluster(call, request.get("cluster"))
    arns = [
        name if name.startswith("arn:") else call.arn(f"service/{cluster.name}/{name}") for name in request["services"]
    ]
    return {"services": [], "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns]}
