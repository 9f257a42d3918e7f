"""What a decision costs: `python -m bench.decisions`. Processor time of this process alone, the best of several rounds.

The principal has ten policies of ten statements. At worst every statement speaks of the action, with two patterns each; in
the usual account policies speak of different things, and of an action only some do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from longshore.aws.principal import Principal
from longshore.policy.document import Document, compile_document
from longshore.policy.evaluate import Policies, Question, decide, evaluate

_ACCOUNT = "123456789012"
_ROUNDS, _TIMES = 9, 400
_ANN = Principal(
    kind="user", account=_ACCOUNT, arn=f"arn:aws:iam::{_ACCOUNT}:user/ann", user_id="AIDA", user_name="ann"
)
_CONTEXT: dict[str, str | list[str]] = {
    "aws:username": "ann", "aws:principaltag/team": "blue", "aws:sourceip": "10.1.2.3",
}  # fmt: skip
_SERVICES = ("batch", "ecs", "ec2", "s3", "iam", "logs", "sqs", "sns", "ecr", "kms")


class Cost(Struct, frozen=True):
    title: str
    microseconds: float
    microseconds_max: float  # the bar


def costs() -> list[Cost]:
    worst, usual = (Policies(tuple(_document(i, is_worst) for i in range(10))) for is_worst in (True, False))
    fresh = [_question(number) for number in range(_TIMES)]

    def anew(held: Policies) -> float:
        return _best(lambda number: evaluate(fresh[number], held))

    return [
        Cost("decision, every statement speaks of the action", anew(worst), 50),
        Cost("decision, one policy speaks of the action", anew(usual), 50),
        Cost("decision that was asked before", _best(lambda number: decide(fresh[0], worst)), 5),
    ]


def _best(work: Callable[[int], Any]) -> float:
    """Microseconds of one turn."""
    found = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        for number in range(_TIMES):
            work(number)
        found.append((time.process_time() - start) / _TIMES * 1e6)
    return min(found)


def _question(number: int) -> Question:
    resource = f"arn:aws:batch:us-east-1:{_ACCOUNT}:job-queue/team-9-8-{number}"
    return Question(_ANN, "batch:SubmitJob", resource, _CONTEXT)


def _document(at: int, is_worst: bool) -> Document:
    service = "batch" if is_worst or at == 9 else _SERVICES[at]
    return compile_document({"Version": "2012-10-17", "Statement": [_statement(service, at, j) for j in range(10)]})


def _statement(service: str, i: int, j: int) -> dict[str, Any]:
    return {
        "Effect": "Deny" if j == 9 else "Allow",
        "Action": [f"{service}:Describe{j}*", f"{service}:Submit*"],
        "Resource": [
            f"arn:aws:{service}:*:{_ACCOUNT}:job-queue/team-{i}-{j}-*",
            f"arn:aws:{service}:*:*:job-definition/x{i}{j}/${{aws:username}}-*",
        ],
        "Condition": {
            "StringLike": {"aws:PrincipalTag/team": ["a*", "b*"]},
            "IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"]},
        },
    }


def main() -> int:
    found = costs()
    for cost in found:
        print(f"{cost.title:50} {cost.microseconds:8.2f} us   at most {cost.microseconds_max:g}")
    return int(any(cost.microseconds > cost.microseconds_max for cost in found))


if __name__ == "__main__":
    sys.exit(main())
