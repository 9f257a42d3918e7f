"""The commands. What takes time to import is imported by the command that needs it.

Everything that AWS has an operation for is the `aws` command's; here is what it has none for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore.cli import accounts, backup, images
from longshore.cli.doctor import command as doctor
from longshore.cli.rehearsal import command as rehearsal
from longshore.settings import IAM_QUOTAS, Settings, default_state_dir

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Your own AWS Batch, on your own machines.",
)
app.add_typer(accounts.app, name="accounts")
app.add_typer(images.app, name="images")
app.add_typer(rehearsal.app, name="import")
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(doctor.doctor)

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")]
State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]
Account = Annotated[str, typer.Option(help="The account's number, 12 digits.")]
Region = Annotated[str, typer.Option(help="The region of requests that name none.")]
ForTests = Annotated[bool, typer.Option("--for-tests", help="Offer POST /_longshore/reset, unsigned, on loopback.")]
Vcpus = Annotated[int | None, typer.Option(help="What instances may take in all.", show_default="the host's")]
MemoryMib = Annotated[
    int | None, typer.Option(help="The same for memory, in MiB.", show_default="the host's, less a reserve")
]
DiskGib = Annotated[
    int | None,
    typer.Option(help="The same for disks, in GiB.", show_default="what the state's disk has free, less a reserve"),
]
Share = Annotated[list[str] | None, typer.Option(help="A host path that jobs may mount; may be given several times.")]
IdleSeconds = Annotated[int, typer.Option(help="How long an instance without a job is kept.")]
JoinSeconds = Annotated[
    int, typer.Option(help="After how long a compute environment none of whose instances joins is INVALID.")
]
IamQuota = Annotated[
    list[str] | None,
    typer.Option(help="A quota of IAM that differs from AWS's, as `RolesPerAccount=2000`; may be given several times."),
]
TrailDays = Annotated[int, typer.Option(min=1, help="How long calls stay on record (`aws cloudtrail lookup-events`).")]
TrailRecords = Annotated[int, typer.Option(min=1, help="How many calls stay on record at most, the newest.")]


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 4570,
    state: State = None,
    account: Account = "123456789012",
    region: Region = "us-east-1",
    machines: Annotated[str, typer.Option(help="What instances run on: none, local, memory.")] = "none",
    vcpus: Vcpus = None,
    memory_mib: MemoryMib = None,
    disk_gib: DiskGib = None,
    share: Share = None,
    idle_seconds: IdleSeconds = 300,
    join_seconds: JoinSeconds = 1800,
    iam_quota: IamQuota = None,
    trail_days: TrailDays = 90,
    trail_records: TrailRecords = 200_000,
    privileged: Annotated[bool, typer.Option("--privileged", help="Honour `privileged: true` of jobs.")] = False,
    for_tests: ForTests = False,
) -> None:
    """The server alone, with an empty account at its first start."""
    _run(
        Settings(
            host=host, port=port, state=state or default_state_dir(), account=account, region=region,
            machines=machines, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, share=tuple(share or ()),
            idle_seconds=idle_seconds, join_seconds=join_seconds, iam_quotas=_quotas(iam_quota), trail_days=trail_days,
            trail_records=trail_records, privileged=privileged, for_tests=for_tests,
        ),
        with_defaults=False,
    )  # fmt: skip


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 4570,
    state: State = None,
    account: Account = "123456789012",
    region: Region = "us-east-1",
    machines: Annotated[str, typer.Option(help="What instances run on: local, memory.")] = "local",
    vcpus: Vcpus = None,
    memory_mib: MemoryMib = None,
    disk_gib: DiskGib = None,
    share: Share = None,
    idle_seconds: IdleSeconds = 300,
    join_seconds: JoinSeconds = 1800,
    iam_quota: IamQuota = None,
    trail_days: TrailDays = 90,
    trail_records: TrailRecords = 200_000,
    for_tests: ForTests = False,
) -> None:
    """The server, machines of this host, and what a first job needs: roles, a compute environment, a queue."""
    _run(
        Settings(
            host=host, port=port, state=state or default_state_dir(), account=account, region=region,
            machines=machines, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, share=tuple(share or ()),
            idle_seconds=idle_seconds, join_seconds=join_seconds, iam_quotas=_quotas(iam_quota), trail_days=trail_days,
            trail_records=trail_records, privileged=True, for_tests=for_tests,
        ),
        with_defaults=True,
    )  # fmt: skip


def _quotas(given: list[str] | None) -> dict[str, int]:
    quotas = {}
    for each in given or ():
        name, _, number = each.partition("=")
        if name not in IAM_QUOTAS or not (number.isascii() and number.isdigit()):
            sys.exit(f"longshore: `{each}` is no quota of IAM; NAME=NUMBER is needed, NAME of {', '.join(IAM_QUOTAS)}")
        quotas[name] = int(number)
    return quotas


def _run(settings: Settings, *, with_defaults: bool) -> None:
    if not (len(settings.account) == 12 and settings.account.isascii() and settings.account.isdigit()):
        sys.exit(f"longshore: `{settings.account}` is no account number: 12 digits are needed")
    if settings.machines not in ("none", "local", "memory"):
        sys.exit(f"longshore: `{settings.machines}` is no kind of machine: local, memory")
    from longshore.server.run import CannotStart
    from longshore.server.run import serve as run
    from longshore.telemetry import configure_logs

    configure_logs()
    try:
        run(settings, with_defaults=with_defaults)
    except CannotStart as error:
        sys.exit(f"longshore: {error}")


@app.command()
def env(
    state: State = None,
    host: Annotated[str | None, typer.Option(help="Where the server is.", show_default="as it was started")] = None,
    port: Annotated[int | None, typer.Option(help="The same, its port.", show_default="as it was started")] = None,
    region: Annotated[str | None, typer.Option(help="The region to work in.", show_default="the server's")] = None,
    account: Annotated[str | None, typer.Option(help="As whose root user.", show_default="the first account's")] = None,
) -> None:
    """Prints what a shell needs to reach the server: `eval "$(longshore env)"`."""
    from longshore.cli.reach import reach

    there = reach(state, host=host, port=port, account=account)
    for service in _ENDPOINTS:
        print(f"export AWS_ENDPOINT_URL_{service}={there.endpoint}")
    print(f"export AWS_ACCESS_KEY_ID={there.access_key_id}")
    print(f"export AWS_SECRET_ACCESS_KEY={there.secret_access_key}")
    print(f"export AWS_DEFAULT_REGION={region or there.region}")
    print("unset AWS_SESSION_TOKEN AWS_PROFILE")


_ENDPOINTS = ("IAM", "STS", "EC2", "ECS", "BATCH", "CLOUDWATCH_LOGS", "CLOUDTRAIL")


@app.command()
def explain(
    job: Annotated[str, typer.Argument(help="A job's id.")],
    state: State = None,
    output: Annotated[str, typer.Option(help="text or json.")] = "text",
) -> None:
    """Says why a job is where it is, and what it waits for."""
    import json

    from longshore.cli.reach import Refused, reach

    try:
        answer = reach(state).get(f"/_longshore/explain/{job}")
    except Refused as error:
        sys.exit(f"longshore: {error}")
    if output == "json":
        print(json.dumps(answer, indent=2))
        return
    because = f": {answer['statusReason']}" if answer.get("statusReason") else ""
    print(f"{answer['jobId']} is {answer['status']}{because}")
    for reason in answer["reasons"]:
        print(f"- {reason}")


@app.command(hidden=True)
def agent() -> None:
    """The container agent: started by an instance, told by its environment and /etc/ecs/ecs.config."""
    from longshore.agent.main import main as run

    sys.exit(run())


def main() -> None:
    app()
