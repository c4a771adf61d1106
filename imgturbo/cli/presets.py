"""The command about presets: which published models one objective holds."""

from __future__ import annotations

import json
import shutil
from typing import Annotated

import typer

from imgturbo import plugins
from imgturbo.cli.options import JsonOutput
from imgturbo.errors import ImgturboError

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def presets(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One of them, in full; left out: all.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As the table of a page of documentation.")
    ] = False,
    as_json: JsonOutput = False,
) -> None:
    """List the published models that 'objective.preset' may name, and of which terms each is made.

    imgturbo presets

    imgturbo presets vae_gan
    """
    from imgturbo.turbo.catalogue import as_markdown, as_text, described, require, rows

    if markdown and (as_json or name is not None):
        raise ImgturboError("presets: --markdown is the table of all, by itself; drop the rest")
    if name is not None:
        require(name)
    width = min(100, shutil.get_terminal_size().columns)
    if as_json:
        listed = [row._asdict() for row in rows() if name in (None, row.name)]
        typer.echo(json.dumps(listed if name is None else listed[0], indent=2, ensure_ascii=False))
    elif name is not None:
        typer.echo(described(name, width))
    else:
        typer.echo(as_markdown().rstrip("\n") if markdown else as_text(width))
        if not markdown and (others := plugins.added(plugins.GENERATORS)):
            typer.echo(f"Kinds of networks beside ours: {others.removeprefix('; ')}.")
