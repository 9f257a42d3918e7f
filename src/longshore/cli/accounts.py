"""`longshore accounts`: several accounts on one server, and what limits them.

Asked of the server that runs; when none does, done here on the state folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from longshore.settings import default_state_dir

if TYPE_CHECKING:
    from longshore.cli.reach import Reached

app = typer.Typer(no_args_is_help=True, help="Accounts beside the first, each with its root key and its limits.")

State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]
Output = Annotated[str, typer.Option(help="text or json.")]
_PATH = "/_longshore/accounts"
# What Organizations attaches to every account, and leaves there when others are attached.
_FULL_ACCESS = {
    "name": "FullAWSAccess",
    "document": '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
}


@app.command()
def add(
    account: Annotated[
        str | None, typer.Argument(help="Its number, 12 digits.", show_default="one that is free")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is called in lists.")] = None,
    state: State = None,
    output: Output = "text",
) -> None:
    """Makes an account and prints its root key, which `longshore env --account` prints again."""
    import json

    from longshore.server.keys import RootKeys, keep_account_keys

    wanted = {key: value for key, value in (("account", account), ("name", name)) if value is not None}
    made = _ask(state, "POST", _PATH, wanted)
    keys = RootKeys(made["accessKeyId"], made["secretAccessKey"])
    keep_account_keys(state or default_state_dir(), made["account"], keys)
    if output == "json":
        print(json.dumps(made, indent=2))
        return
    print(f"account            {made['account']}  {made['name']}")
    print(f"access key id      {keys.access_key_id}")
    print(f"secret access key  {keys.secret_access_key}")


@app.command("list")
def list_accounts(state: State = None, output: Output = "text") -> None:
    """Numbers, names, and the service control policies of each; the first account first."""
    import json

    answer = _ask(state, "GET", _PATH)
    if output == "json":
        print(json.dumps(answer, indent=2))
        return
    for each in answer["accounts"]:
        limits = " | ".join(", ".join(level) or "nothing" for level in each["serviceControlPolicies"])
        print(f"{each['account']}  {each['name']}" + (f"  limited by {limits}" if limits else ""))


@app.command()
def scp(
    account: Annotated[str, typer.Argument(help="Whose.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="A policy each. A folder of policies is a level of its own, above the account: every level "
                            "must allow.", show_default="shows those that it has"),
    ] = None,
    without_full_access: Annotated[
        bool,
        typer.Option("--without-full-access", help="Leaves out FullAWSAccess, which AWS has on every level by itself."),
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Takes away all that it has.")] = False,
    state: State = None,
) -> None:  # fmt: skip
    """Replaces the service control policies of an account: what its users, roles and root user may do at most."""
    path = f"{_PATH}/{quote(account, safe='')}/service-control-policies"
    if not files and not remove:
        for at, level in enumerate(_ask(state, "GET", path)["levels"], 1):
            for policy in level:
                print(f"level {at}  {policy['name']}\n{policy['document']}")
        return
    if files and remove:
        sys.exit("longshore: either files are given or all is removed")
    levels = _levels(files or [], full_access=not without_full_access)
    answer = _ask(state, "PUT", path, {"levels": levels})
    for at, level in enumerate(answer["levels"], 1):
        print(f"level {at}  {', '.join(level)}")


def _levels(files: list[Path], *, full_access: bool) -> list[list[dict[str, str]]]:
    """Each folder is a level; the files beside them are the account's own, the last."""
    above = [sorted(each for each in path.iterdir() if each.suffix == ".json") for path in files if path.is_dir()]
    own = [path for path in files if not path.is_dir()]
    levels = [*above, own] if own else above
    given = [_FULL_ACCESS] if full_access else []
    return [[*given, *map(_policy, level)] for level in levels]


def _policy(path: Path) -> dict[str, str]:
    try:
        return {"name": path.stem, "document": path.read_text("utf-8")}
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"longshore: can't read `{path}`: {error}")


def _ask(state: Path | None, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    from longshore.cli.reach import NotThere, Refused, reach

    there = reach(state)
    try:
        return there.ask(method, path, body)
    except NotThere:
        return _alone(state or default_state_dir(), there, method, path, body)
    except Refused as error:
        sys.exit(f"longshore: {error}")


def _alone(state: Path, there: Reached, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """No server answers: unless one has the folder, nobody is disturbed."""
    import msgspec

    from longshore.server.aside import answer
    from longshore.server.keys import RootKeys
    from longshore.server.run import CannotStart
    from longshore.store.migrate import DatabaseTooNew
    from longshore.store.witness import LogIsTorn

    root = RootKeys(there.access_key_id, there.secret_access_key)
    try:
        status, value = answer(state, root, method, path, msgspec.json.encode(body) if body is not None else b"")
    except (CannotStart, DatabaseTooNew, LogIsTorn) as error:
        sys.exit(f"longshore: {error}")
    if status >= 300:
        sys.exit(f"longshore: {value.get('__type')}: {value.get('message')}")
    return value
