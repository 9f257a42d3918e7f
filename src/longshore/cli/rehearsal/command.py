"""`longshore import iam FILE`, the shell around the plan: only ever into a server of ours, as its account's root user."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from longshore.cli.rehearsal.plan import Here, Left, Plan

app = typer.Typer(no_args_is_help=True, help="What a real account has, rebuilt here.")

TAKEN_OVER, SOMETHING_LEFT, CANNOT_READ = 0, 1, 2
State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]


@app.callback()
def _import() -> None:
    """What a real account has, rebuilt here."""


@app.command()
def iam(
    file: Annotated[
        Path, typer.Argument(help="What `aws iam get-account-authorization-details` has printed; - for input.")
    ],
    state: State = None,
    account: Annotated[str | None, typer.Option(help="Into which account.", show_default="the first")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the commands that would do it.")] = False,
    output: Annotated[str, typer.Option(help="text or json.")] = "text",
) -> None:
    """Rebuilds users, groups, roles, policies, boundaries and instance profiles of a real account, without their keys.

    What the file names becomes as it is there; what it does not name stays. Exit code 1: something could not be taken over.
    """
    from longshore.cli.rehearsal.plan import NoDetails, plan, source_of

    if output not in ("text", "json"):
        raise typer.BadParameter("text or json", param_hint="--output")
    try:
        details = _read(file)
        source = source_of(details)
        client, here = _connect(state, account)
        made = plan(details, here)
    except (OSError, ValueError, NoDetails) as error:
        print(f"longshore: `{file}`: {error}", file=sys.stderr)
        sys.exit(CANNOT_READ)
    if dry_run:
        for step in made.steps:
            print(step.do.command)
        sys.exit(SOMETHING_LEFT if made.left else TAKEN_OVER)
    left = [*made.left, *carry_out(client, made)]
    done = len(made.steps) - (len(left) - len(made.left))
    if output == "json":
        shown = [{"of": each.of, "what": each.what, "because": each.because} for each in left]
        print(json.dumps({"from": source, "to": here.number, "changes": done, "left": shown}, indent=2))
    else:
        print(f"account {source}, rebuilt as {here.number}: {done} changes")
        for each in left:
            print(f"- left: {each.of}: {each.what}: {each.because}")
    sys.exit(SOMETHING_LEFT if left else TAKEN_OVER)


def carry_out(client: Any, made: Plan) -> list[Left]:
    """What was refused; all else is done."""
    from botocore import xform_name

    from longshore.cli.doctor.read import FAILURES, said
    from longshore.cli.rehearsal.plan import Left

    left = []
    for step in made.steps:
        try:
            getattr(client, xform_name(step.do.operation))(**step.do.parameters)
        except FAILURES as error:
            left.append(Left(step.of, step.do.operation, said(error)))
    return left


def look_here(client: Any, number: str) -> Here:
    from longshore.cli.rehearsal.plan import Here

    def everything(operation: str, **given: Any) -> dict[str, Any]:
        found: dict[str, Any] = client.get_paginator(operation).paginate(**given).build_full_result()
        return found

    profiles = everything("list_instance_profiles")["InstanceProfiles"]
    return Here(
        number=number,
        details=everything("get_account_authorization_details", Filter=["User", "Group", "Role", "LocalManagedPolicy"]),
        profiles={each["InstanceProfileName"]: each for each in profiles},
        aws_policies=frozenset(each["Arn"] for each in everything("list_policies", Scope="AWS")["Policies"]),
    )


def _read(file: Path) -> dict[str, Any]:
    found = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def _connect(state: Path | None, account: str | None) -> tuple[Any, Here]:
    from botocore.session import get_session

    from longshore.cli.doctor.read import FAILURES, said
    from longshore.cli.reach import reach

    there = reach(state, account=account)
    clients = {
        name: get_session().create_client(
            name, region_name=there.region, endpoint_url=there.endpoint, aws_access_key_id=there.access_key_id,
            aws_secret_access_key=there.secret_access_key,
        )
        for name in ("sts", "iam")
    }  # fmt: skip
    try:
        return clients["iam"], look_here(clients["iam"], clients["sts"].get_caller_identity()["Account"])
    except FAILURES as error:
        print(f"longshore: {said(error)}", file=sys.stderr)
        sys.exit(CANNOT_READ)
