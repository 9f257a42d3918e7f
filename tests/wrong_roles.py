"""What tests of wrong roles share: `longshore explain`'s answer, an instance's console, and the `aws` commands that explain
proposes, carried out as they stand."""

from __future__ import annotations

import json
import shlex
from typing import Any

from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from batch_house import BatchHouse
from in_process import ENDPOINT, REGION, ROOT
from longshore.aws.wire.http import HttpRequest

ACCOUNT_ROLE = "arn:aws:iam::123456789012:role/"


def explained(
    batch: BatchHouse, job_id: str, key: str = ROOT.access_key_id, secret: str = ROOT.secret_access_key
) -> dict[str, Any]:
    """What `longshore explain --output json` prints: a signed GET."""
    path = f"/_longshore/explain/{job_id}"
    request = AWSRequest("GET", f"{ENDPOINT}{path}")
    SigV4Auth(Credentials(key, secret), "batch", REGION).add_auth(request)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    headers["host"] = ENDPOINT.removeprefix("http://")
    sent = HttpRequest(method="GET", path=path, query_string="", headers=headers, body=b"", source_ip="127.0.0.1")
    house = batch.house
    answer = house.loop.run_until_complete(house.assembly.gateway.handle(sent, ENDPOINT))
    assert answer.status == 200, answer.body
    found: dict[str, Any] = json.loads(answer.body)
    return found


def console(batch: BatchHouse, instance_id: str) -> str:
    return str(batch.ec2.get_console_output(InstanceId=instance_id).get("Output", ""))


def carry_out(batch: BatchHouse, command: str) -> None:
    """The `aws` commands of one line, as the real one would read them."""
    for line in command.split(" && "):
        word, service, operation, *options = shlex.split(line)
        assert word == "aws", line
        client = batch.house.client(service)
        members = client.meta.service_model.operation_model(_operation(client, operation)).input_shape.members
        by_option = {xform_name(name, "-"): (name, shape) for name, shape in members.items()}
        parameters: dict[str, Any] = {}
        while options:
            name, shape = by_option[options.pop(0).removeprefix("--")]
            if shape.type_name == "boolean":
                parameters[name] = True
                continue
            value = options.pop(0)
            parameters[name] = (
                dict(each.split("=", 1) for each in value.split(",")) if shape.type_name == "structure" else value
            )
        getattr(client, operation.replace("-", "_"))(**parameters)


def _operation(client: Any, command: str) -> str:
    name: str = client.meta.method_to_api_mapping[command.replace("-", "_")]
    return name


def mend_as_told(batch: BatchHouse, job_id: str, most: int = 3) -> list[str]:
    """Carries out what explain proposes, one broken link after the other, until none is left. The commands."""
    commands: list[str] = []
    while (chain := explained(batch, job_id)["chain"]) and len(commands) < most:
        command = chain[0]["mend"]
        assert command is not None, chain[0]
        assert any(command in reason for reason in explained(batch, job_id)["reasons"])
        carry_out(batch, command)
        commands.append(command)
    assert explained(batch, job_id)["chain"] == []
    return commands
