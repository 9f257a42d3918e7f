"""`longshore images`: what jobs can run without a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Images that instances find without a registry.")

State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]
