"""The commands. What takes time to import is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore.settings import Settings, default_state_dir

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Your own AWS Batch, on your own machines.",
)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")]
State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]
Account = Annotated[str, typer.Option(help="The account's number, 12 digits.")]
Region = Annotated[str, typer.Option(help="The region of requests that name none.")]
ForTests = Annotated[bool, typer.Option("--for-tests", help="Offer POST /_longshore/reset, unsigned, on loopback.")]


@app.callback()
def _commands() -> None:
    """Kept so that a single command would still be called by its name."""


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 4570,
    state: State = None,
    account: Account = "123456789012",
    region: Region = "us-east-1",
    for_tests: ForTests = False,
) -> None:
    """The server, with an empty account at its first start."""
    if not (len(account) == 12 and account.isdigit()):
        sys.exit(f"longshore: `{account}` is no account number: 12 digits are needed")
    from longshore.server.keys import HalfGiven
    from longshore.server.run import AlreadyRunning
    from longshore.server.run import serve as run
    from longshore.store.migrate import DatabaseTooNew
    from longshore.telemetry import configure_logs

    configure_logs()
    folder = state or default_state_dir()
    try:
        run(Settings(host=host, port=port, state=folder, account=account, region=region, for_tests=for_tests))
    except (AlreadyRunning, DatabaseTooNew, HalfGiven) as error:
        sys.exit(f"longshore: {error}")


_ENDPOINTS = ("IAM", "STS", "EC2", "ECS", "BATCH", "CLOUDWATCH_LOGS", "CLOUDTRAIL")


@app.command()
def env(host: Host = "127.0.0.1", port: Port = 4570, state: State = None, region: Region = "us-east-1") -> None:
    """Prints what a shell needs to reach the server: `eval "$(longshore env)"`."""
    keys = _keys(state)
    endpoint = f"http://{host}:{port}"
    for service in _ENDPOINTS:
        print(f"export AWS_ENDPOINT_URL_{service}={endpoint}")
    print(f"export AWS_ACCESS_KEY_ID={keys[0]}")
    print(f"export AWS_SECRET_ACCESS_KEY={keys[1]}")
    print(f"export AWS_DEFAULT_REGION={region}")
    print("unset AWS_SESSION_TOKEN AWS_PROFILE")


def _keys(state: Path | None) -> tuple[str, str]:
    import os

    from longshore.server.keys import read_root_keys

    given = os.environ.get("LONGSHORE_ROOT_ACCESS_KEY_ID"), os.environ.get("LONGSHORE_ROOT_SECRET_ACCESS_KEY")
    if given[0] and given[1]:
        return given[0], given[1]
    found = read_root_keys(state or default_state_dir())
    if found is None:
        sys.exit("longshore: no server has been started with this state folder yet: no keys")
    return found.access_key_id, found.secret_access_key


def main() -> None:
    app()
