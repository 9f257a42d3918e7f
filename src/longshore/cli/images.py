"""`longshore images`: what jobs can run without a registry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from longshore.settings import default_state_dir

app = typer.Typer(no_args_is_help=True, help="Images that instances find without a registry.")

State = Annotated[Path | None, typer.Option(help="Where everything is kept.", show_default="the XDG data folder")]


@app.command("import")
def import_image(
    name: Annotated[str, typer.Argument(help="What jobs call it: busybox, tools:1.2 ...")],
    file: Annotated[
        Path, typer.Argument(help="An OCI layout, a `docker save` archive, or a root file system as a tar.")
    ],
    state: State = None,
) -> None:
    """Puts an image where every instance finds it, those that run among them."""
    from longshore.host.images import ImageError, ImageStore

    try:
        image = ImageStore(_folder(state), is_lasting=True).import_file(name, file)
    except (ImageError, ValueError, OSError) as error:
        sys.exit(f"longshore: {error}")
    print(f"imported {name} {image.digest}")


@app.command("list")
def list_images(state: State = None) -> None:
    """The images that were imported."""
    from longshore.host.images import ImageStore

    for each in ImageStore(_folder(state)).names():
        print(f"{each.name}  {each.digest}  {each.named_at:%Y-%m-%d %H:%M:%S}")


@app.command("remove")
def remove_image(name: Annotated[str, typer.Argument(help="What it was imported as.")], state: State = None) -> None:
    """Forgets an image; its files go when no container runs from them any more."""
    from longshore.host.images import ImageStore

    try:
        found = ImageStore(_folder(state)).remove(name)
    except (ValueError, OSError) as error:
        sys.exit(f"longshore: {error}")
    if not found:
        sys.exit(f"longshore: there is no image `{name}`")


def _folder(state: Path | None) -> Path:
    folder = (state or default_state_dir()) / "images"
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    return folder
