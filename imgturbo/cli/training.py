"""The command that trains."""

from __future__ import annotations

from typing import Annotated

import typer

from imgturbo.cli.options import Overrides, Readable
from imgturbo.cli.output import say
from imgturbo.remote import readable
from imgturbo.stopping import going_on

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def train(
    config: Annotated[
        Readable,
        typer.Argument(metavar="CONFIG", parser=readable, help="YAML; see configs/ for examples."),
    ],
    overrides: Overrides = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew where a run of this name stands.")
    ] = False,
) -> None:
    """Train a model on a tile store; continues where it stopped.

    On several GPUs: accelerate launch scripts/train.py CONFIG [KEY=VALUE]…
    """
    from imgturbo.engines import load_settled
    from imgturbo.training import train as run

    with going_on("the same command continues from the last checkpoint"):
        result = run(load_settled(config, overrides or []), resume=not fresh)
    say(result.message)
    raise typer.Exit(result.status)
