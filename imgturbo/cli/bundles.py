"""The command that makes bundles of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def export(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder of a trained bundle.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new bundle.")],
    half: Annotated[
        bool, typer.Option("--half", help="Store weights as float16: half the size.")
    ] = False,
    toward: Annotated[
        str | None,
        typer.Option(help="Move the weights towards this bundle's."),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="How far: 0 not at all, 1 all the way.")
    ] = 0.5,
) -> None:
    """Write a bundle anew, for others: checked, without your folders, smaller, or between two."""
    from imgturbo.bundle import export as run
    from imgturbo.bundle import load_bundle

    other = None if toward is None else load_bundle(toward)
    typer.echo(run(load_bundle(bundle), out, half=half, toward=other, share=share))
