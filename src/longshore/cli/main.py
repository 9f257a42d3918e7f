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
images_app = typer.Typer(no_args_is_help=True, help="The images that jobs can use without a registry.")
app.add_typer(images_app, name="images")

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")]
State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]
Account = Annotated[str, typer.Option(help="The account's number, 12 digits.")]
Region = Annotated[str, typer.Option(help="The region of requests that name none.")]
Machines = Annotated[str, typer.Option(help="What instances run on: `local` (Linux, root) or `memory` (simulated).")]
ForTests = Annotated[bool, typer.Option("--for-tests", help="Offer POST /_longshore/reset, unsigned, on loopback.")]
Vcpus = Annotated[int | None, typer.Option(help="vCPUs that instances may use in all.", show_default="the host's")]
MemoryMib = Annotated[int | None, typer.Option(help="MiB of memory for instances.", show_default="the host's")]
Share = Annotated[list[str] | None, typer.Option(help="A host path that jobs may mount; may be repeated.")]
IdleSeconds = Annotated[int, typer.Option(help="How long an instance without work stays.")]
Privileged = Annotated[bool | None, typer.Option(help="Honour `privileged` of jobs.", show_default="only with up")]


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 4570,
    state: State = None,
    account: Account = "123456789012",
    region: Region = "us-east-1",
    machines: Machines = "local",
    for_tests: ForTests = False,
    vcpus: Vcpus = None,
    memory_mib: MemoryMib = None,
    share: Share = None,
    idle_seconds: IdleSeconds = 300,
    privileged: Privileged = None,
) -> None:
    """The server, its machines, and defaults to begin with: role, profile, network, compute environment, queue."""
    _serve(
        Settings(
            host=host, port=port, state=state or default_state_dir(), account=account, region=region,
            machines=machines, for_tests=for_tests, vcpus=vcpus, memory_mib=memory_mib, share=tuple(share or ()),
            idle_seconds=idle_seconds, privileged=privileged is not False,
        ),
        with_defaults=True,
    )  # fmt: skip


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 4570,
    state: State = None,
    account: Account = "123456789012",
    region: Region = "us-east-1",
    machines: Machines = "memory",
    for_tests: ForTests = False,
    vcpus: Vcpus = None,
    memory_mib: MemoryMib = None,
    share: Share = None,
    idle_seconds: IdleSeconds = 300,
    privileged: Privileged = None,
) -> None:
    """The server alone, with an empty account."""
    _serve(
        Settings(
            host=host, port=port, state=state or default_state_dir(), account=account, region=region,
            machines=machines, for_tests=for_tests, vcpus=vcpus, memory_mib=memory_mib, share=tuple(share or ()),
            idle_seconds=idle_seconds, privileged=bool(privileged),
        ),
        with_defaults=False,
    )  # fmt: skip


def _serve(settings: Settings, *, with_defaults: bool) -> None:
    from longshore.telemetry import configure_logs

    if not (len(settings.account) == 12 and settings.account.isdigit()):
        sys.exit(f"longshore: `{settings.account}` is no account number: 12 digits are needed")
    if settings.machines not in ("local", "memory"):
        sys.exit(f"longshore: `{settings.machines}` is no kind of machine; there are `local` and `memory`")
    configure_logs()
    if settings.machines == "local":
        from longshore.host.prerequisites import missing

        lacking = missing("local")
        if lacking:
            lines = [f"  {each.what}: {each.why}\n    {each.how_to_get}" for each in lacking]
            sys.exit(
                "longshore: machines of the kind `local` need what this host lacks:\n"
                + "\n".join(lines)
                + "\nWithout it, `--machines memory` works: jobs queue, start and end, but run nothing."
            )
    from longshore.server.keys import HalfGiven
    from longshore.server.run import AlreadyRunning, serve
    from longshore.store.migrate import DatabaseTooNew

    try:
        serve(settings, with_defaults=with_defaults)
    except (AlreadyRunning, DatabaseTooNew, HalfGiven) as error:
        sys.exit(f"longshore: {error}")


_ENDPOINTS = ("IAM", "STS", "EC2", "ECS", "BATCH", "CLOUDWATCH_LOGS", "CLOUDTRAIL")


@app.command()
def env(
    host: Host = "127.0.0.1", port: Port = 4570, state: State = None, region: Region = "us-east-1"
) -> None:
    """Prints what a shell needs to reach the server: `eval "$(longshore env)"`."""
    keys = _keys(state)
    endpoint = f"http://{host}:{port}"
    for service in _ENDPOINTS:
        print(f"export AWS_ENDPOINT_URL_{service}={endpoint}")
    print(f"export AWS_ACCESS_KEY_ID={keys[0]}")
    print(f"export AWS_SECRET_ACCESS_KEY={keys[1]}")
    print(f"export AWS_DEFAULT_REGION={region}")
    print("unset AWS_SESSION_TOKEN AWS_PROFILE")


@app.command()
def explain(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    host: Host = "127.0.0.1",
    port: Port = 4570,
    state: State = None,
    region: Region = "us-east-1",
    output: Annotated[str, typer.Option(help="`text`, or `json` for programs.")] = "text",
) -> None:
    """Why a job waits, or how it ended."""
    import json

    from longshore.cli.request import Refused, signed_get

    try:
        answer = signed_get(f"http://{host}:{port}/_longshore/explain/{job}", "batch", region, _keys(state))
    except Refused as error:
        sys.exit(f"longshore: {error}")
    if output == "json":
        print(json.dumps(answer))
        return
    print(f"{answer['jobId']}  {answer['status']}")
    for reason in answer["reasons"]:
        print(f"  {reason if isinstance(reason, str) else reason.get('text', json.dumps(reason))}")


@images_app.command("import")
def images_import(
    name: Annotated[str, typer.Argument(help="The name that job definitions use, `busybox:1.36`.")],
    file: Annotated[Path, typer.Argument(help="An OCI layout, a `docker save` archive, or a root file system as tar.")],
    state: State = None,
) -> None:
    """Makes an image usable by jobs; before any instance exists or after."""
    from longshore.agent.images import ImageError, import_image

    folder = (state or default_state_dir()) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import_image(folder, name, file)
    except (ImageError, OSError) as error:
        sys.exit(f"longshore: {error}")
    print(name)


@images_app.command("list")
def images_list(state: State = None) -> None:
    """The imported images."""
    from longshore.agent.images import list_images

    for name, digest in sorted(list_images((state or default_state_dir()) / "images").items()):
        print(f"{name}  {digest}")


@app.command()
def agent() -> None:
    """The container agent. It runs inside an instance and is started by it."""
    from longshore.agent.main import main as run

    run()


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
