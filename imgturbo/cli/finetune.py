"""The command that trains a bundle on with pairs of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgturbo.cli.options import (
    LOCAL,
    READ,
    WRITE,
    BundleName,
    JsonOutput,
    Overrides,
    Readable,
    SourceBands,
    SourceUnit,
    TargetBands,
    TargetUnit,
)
from imgturbo.cli.output import say
from imgturbo.stopping import going_on

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def finetune(
    bundle: BundleName,
    out: Annotated[Path, typer.Option(help="Folder for tiles, run and the new bundle.", **WRITE)],
    overrides: Overrides = None,
    source: Annotated[
        list[Readable] | None,
        typer.Option(
            help="A source file; repeat it, one a band. Or a picture, or a table.", **READ
        ),
    ] = None,
    target: Annotated[
        list[Readable] | None, typer.Option(help="A target file; repeat it, one a band.", **READ)
    ] = None,
    tiles: Annotated[
        Path | None, typer.Option(help="A finished tile store, instead of files.", **LOCAL)
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Source and target are not the same sky.")
    ] = False,
    source_bands: SourceBands = None,
    target_bands: TargetBands = None,
    source_unit: SourceUnit = "",
    target_unit: TargetUnit = "",
    config: Annotated[
        Readable | None,
        typer.Option(help="YAML laid over the defaults; more pairs, other settings.", **READ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew where a run of this name stands.")
    ] = False,
    as_json: JsonOutput = False,
) -> None:
    """Train a bundle on with your own few pairs; what is kept scores no worse on held-out sky.

    imgturbo finetune --bundle smacs0723-fidelity --source hubble.png --target webb.png --out tuned

    Prints a table of before and after. See docs/guide/finetuning.md.
    """
    import json

    from imgturbo.bundle import load_bundle
    from imgturbo.finetuning import finetune as run
    from imgturbo.report.finetuned import finetuned_table

    loaded = load_bundle(bundle)
    with going_on("the same command continues from the last checkpoint"):
        result = run(
            loaded,
            out,
            source or (),
            target or (),
            tiles=tiles,
            unpaired=unpaired,
            source_bands=source_bands or (),
            target_bands=target_bands or (),
            source_unit=source_unit,
            target_unit=target_unit,
            config=config,
            overrides=overrides or (),
            resume=not fresh,
        )
    if result.before is not None and as_json:
        say(json.dumps(result.content(), indent=2))
    elif result.before is not None:
        finetuned_table(result.content())
    if not as_json or result.before is None:
        say(result.message)
    raise typer.Exit(result.run.status)
