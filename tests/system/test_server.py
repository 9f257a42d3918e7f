"""The process as its users meet it: what it prints, what it keeps, how it ends."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from system.running import LONGSHORE, ROOT_KEY, Server, wait_for

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "state", "--for-tests")
    yield made
    made.end()


def test_it_answers_the_aws_command_soon_after_its_start_and_ends_cleanly(tmp_path: Path) -> None:
    first = Server(tmp_path / "state")
    first.end()
    server = Server(tmp_path / "state")
    try:
        # The bar is 1.5 s on an idle machine, the rest is for a busy one.
        assert min(first.seconds_to_ready, server.seconds_to_ready) < 4.5
        shown = server.aws("sts", "get-caller-identity")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout) == {
            "UserId": "123456789012",
            "Account": "123456789012",
            "Arn": "arn:aws:iam::123456789012:root",
        }
    finally:
        code = server.end()
    assert code == 0
    for line in server.log().splitlines():
        json.loads(line)


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    server = Server(tmp_path / "state")
    iam = server.client("iam")
    for number in range(20):
        iam.create_role(RoleName=f"role-{number}", AssumeRolePolicyDocument=TRUST)
    server.kill()
    again = Server(tmp_path / "state")
    try:
        names = {role["RoleName"] for role in again.client("iam").list_roles()["Roles"]}
        assert names == {f"role-{number}" for number in range(20)}
    finally:
        again.end()


def test_secrets_are_the_users_alone(server: Server) -> None:
    assert server.state.stat().st_mode & 0o777 == 0o700
    for path in server.state.iterdir():
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm"):
            assert path.stat().st_mode & 0o077 == 0, path
    environment = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    assert b"a-secret-of-the-root-user" not in environment


def test_env_finds_the_server_that_was_started(server: Server) -> None:
    shown = subprocess.run(
        [*LONGSHORE, "env", "--state", str(server.state)], capture_output=True, text=True, check=True
    ).stdout
    assert f"export AWS_ENDPOINT_URL_BATCH={server.endpoint}" in shown
    assert f"export AWS_ACCESS_KEY_ID={ROOT_KEY}" in shown
    asked = subprocess.run(
        ["bash", "-c", f'eval "$({" ".join(LONGSHORE)} env --state {server.state})"; echo $AWS_ENDPOINT_URL_IAM'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == server.endpoint


def test_a_second_server_of_the_same_folder_and_one_of_a_taken_port_say_so(server: Server) -> None:
    second = _failed("serve", "--state", str(server.state), "--port", "0")
    assert second == f"longshore: another server has the state folder `{server.state}`"
    port = server.endpoint.rsplit(":", 1)[1]
    other = _failed("serve", "--state", str(server.state.parent / "other"), "--port", port)
    assert other.startswith(f"longshore: can't listen on 127.0.0.1 port {port}: Address already in use")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--account", "12"), "longshore: `12` is no account number: 12 digits are needed"),
        (("--machines", "cloud"), "longshore: `cloud` is no kind of machine: local, memory"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(tmp_path: Path, arguments, said) -> None:
    assert _failed("serve", "--state", str(tmp_path / "state"), *arguments) == said


def _failed(*arguments: str) -> str:
    done = subprocess.run([*LONGSHORE, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


def test_reset_empties_the_account_and_is_offered_to_tests_alone(server: Server, tmp_path: Path) -> None:
    iam = server.client("iam")
    iam.create_role(RoleName="gone", AssumeRolePolicyDocument=TRUST)
    assert _post(f"{server.endpoint}/_longshore/reset") == 200
    assert iam.list_roles()["Roles"] == []
    plain = Server(tmp_path / "plain")
    try:
        assert _post(f"{plain.endpoint}/_longshore/reset") in (403, 404, 405)
    finally:
        plain.end()


def _post(url: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_health_is_told_without_a_signature_and_nothing_else_is(server: Server) -> None:
    for page in ("healthz", "readyz", "metrics"):
        with urllib.request.urlopen(f"{server.endpoint}/{page}", timeout=10) as answer:
            assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.endpoint}/?Action=ListRoles&Version=2010-05-08", timeout=10)
    with refused.value:
        assert refused.value.code == 403
        assert b"MissingAuthenticationToken" in refused.value.read()


def test_without_machines_an_instance_finds_no_capacity(server: Server) -> None:
    ec2 = server.client("ec2")
    x86 = [{"Name": "architecture", "Values": ["x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=x86)["Images"][0]["ImageId"]
    with pytest.raises(ClientError) as refused:
        ec2.run_instances(ImageId=image, InstanceType="c6i.large", MinCount=1, MaxCount=1)
    assert refused.value.response["Error"]["Code"] == "InsufficientInstanceCapacity"


def test_it_listens_where_it_was_told(server: Server) -> None:
    host, port = server.endpoint.removeprefix("http://").rsplit(":", 1)
    assert host == "127.0.0.1"
    others = [address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for address in {each for each in others if not each.startswith("127.")}:
        with pytest.raises(OSError):
            socket.create_connection((address, int(port)), timeout=1).close()


def test_slow_and_broken_callers_hold_nobody_up(server: Server) -> None:
    host, port = server.endpoint.removeprefix("http://").rsplit(":", 1)
    idle = [socket.create_connection((host, int(port))) for _ in range(200)]
    for each in idle[:100]:
        each.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    try:
        wait_for(lambda: server.client("sts").get_caller_identity()["Account"] == "123456789012", 5)
    finally:
        for each in idle:
            each.close()
