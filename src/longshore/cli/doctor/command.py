"""`longshore doctor`, the shell around it: options, what is asked before anything is changed, exit codes."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

Name = Annotated[str | None, typer.Option(help="Look at this too, before anything names it.", show_default=False)]


def doctor(
    profile: Annotated[str | None, typer.Option(help="Of the aws command's configuration.", show_default=False)] = None,
    region: Annotated[str | None, typer.Option(help="The region to look at.", show_default="as for aws")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Where to look.", show_default="as for aws")] = None,
    caller: Annotated[
        str | None, typer.Option(help="ARN of the user or role to look at as the caller.", show_default="who asks")
    ] = None,
    instance_role: Name = None,
    service_role: Name = None,
    execution_role: Name = None,
    job_role: Name = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is wrong, after asking.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: without asking.")] = False,
    output: Annotated[str, typer.Option(help="text or json.")] = "text",
) -> None:
    """Says what is wrong with the roles that jobs hang on, and the command that mends it: here, or at AWS itself.

    Exit code 0: healthy; 1: something is wrong; 2: it could not be looked at.
    """
    from longshore.cli.doctor import show
    from longshore.cli.doctor.account import Definition, Environment
    from longshore.cli.doctor.examine import examine
    from longshore.cli.doctor.read import CannotLook, Wanted, connect

    if output not in ("text", "json"):
        raise typer.BadParameter("text or json", param_hint="--output")
    if fix and output == "json" and not yes:
        raise typer.BadParameter("with --output json nobody can be asked: --yes is needed", param_hint="--fix")
    environment = Environment(name=None, instance_role=instance_role, service_role=service_role)
    definition = Definition(name=None, execution_role=execution_role, job_role=job_role)
    wanted = Wanted(
        environments=(environment,) if instance_role or service_role else (),
        definitions=(definition,) if execution_role or job_role else (),
        caller=caller,
    )
    try:
        reader = connect(profile=profile, region=region, endpoint=endpoint_url)
        report = examine(reader, wanted, _agrees if fix and not yes else (lambda text, command: fix))
    except CannotLook as error:
        if output == "json":
            print(json.dumps({"healthy": False, "error": str(error)}, indent=2))
        else:
            print(f"longshore: {error}", file=sys.stderr)
        sys.exit(show.CANNOT_LOOK)
    print(json.dumps(show.for_programs(report), indent=2) if output == "json" else show.for_people(report))
    sys.exit(report.exit_code)


def _agrees(text: str, command: str) -> bool:
    """On standard error: what is printed at the end is the report alone."""
    return typer.confirm(f"{text}\n  {command}\nDo it?", err=True)
