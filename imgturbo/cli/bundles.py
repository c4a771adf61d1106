"""Commands about bundles: written anew for others, and pushed to a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgturbo.remote import writable

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def export(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder of a trained bundle.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", parser=writable, help="Folder of the new bundle."),
    ],
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


@commands.command()
def push(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Folder of a trained bundle, or its name.")
    ],
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="hf://owner/name[@branch].")],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository for its owner alone.")
    ] = False,
    license: Annotated[
        str | None, typer.Option(help="Licence of the weights, as hubs name it: cc-by-4.0.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="A data set of the hub that it was trained on; repeat it."),
    ] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
) -> None:
    """Upload a bundle to a hub, from which hf://owner/name loads it anywhere.

    Its own files and its card alone, and no others that lie beside them. Needs huggingface_hub
    (pip install 'imgturbo[hub]') and a token (hf auth login, or HF_TOKEN). See docs/guide/hub.md.
    """
    from imgturbo.bundle import push as run

    made = run(
        bundle, address, private=private, license=license, datasets=dataset or (), message=message
    )
    typer.echo(made)
