"""`longshore backup` and `longshore restore`: all that a server keeps, in one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore.settings import default_state_dir

State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]


def backup(
    file: Annotated[Path, typer.Argument(help="What to write; it must not be there yet.")], state: State = None
) -> None:
    """Writes the database and its keys to one file, while the server runs. Guard the file: it has every secret."""
    from longshore.server.backup import BackupError, back_up

    try:
        made = back_up(_folder(state), file.absolute())
    except BackupError as error:
        sys.exit(f"longshore: {error}")
    print(f"wrote {file}: revision {made.revision}, {sum(each.size for each in made.files.values())} bytes")


def restore(file: Annotated[Path, typer.Argument(help="What `longshore backup` wrote.")], state: State = None) -> None:
    """Puts a backup into a state folder that has no database, for the next start of a server."""
    from longshore.server.backup import BackupError
    from longshore.server.backup import restore as put_back

    folder = _folder(state)
    try:
        held = put_back(file.absolute(), folder)
    except BackupError as error:
        sys.exit(f"longshore: {error}")
    print(f"restored {folder} as it was at {held.made_at:%Y-%m-%d %H:%M:%S} UTC")


def _folder(state: Path | None) -> Path:
    return (state or default_state_dir()).absolute()
