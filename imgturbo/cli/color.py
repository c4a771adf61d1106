"""``imgturbo colorize``, ``imgturbo latent …`` and ``imgturbo demo-colorize``.

As in :mod:`imgturbo.cli.main`, heavy imports happen inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imgturbo.errors import ImgturboError

__all__ = ["add_commands"]

latent = typer.Typer(
    help="What the latents of a colour flow hold: one contact sheet a command.",
)

BundleOption = Annotated[
    str, typer.Option(help="Folder of a bundle trained on photographs, or its name.")
]
Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="A grey picture or FITS file.")]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Grey pictures, FITS files of one band.")
]
Sheet = Annotated[Path, typer.Option(help="The sheet to write (.png).")]
Seed = Annotated[int, typer.Option(help="Of the first draw.")]
Size = Annotated[
    int | None,
    typer.Option(help="Shorter side that the network sees; 0: as it is; default: as trained."),
]
Bands = Annotated[str | None, typer.Option(help="The band to colour of a FITS file with several.")]
GreyOption = Annotated[
    bool, typer.Option("--grey", help="Of a colour picture, take the lightness.")
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this room to the command line."""
    app.command()(colorize)
    app.add_typer(latent, name="latent")
    app.command("demo-colorize")(demo_colorize)


def colorize(
    bundle: BundleOption,
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    samples: Annotated[int, typer.Option(help="Draws of colours.")] = 8,
    temperature: Annotated[
        float, typer.Option(help="1: the model's own variety; 0: none; less is calmer.")
    ] = 1.0,
    seed: Seed = 0,
    size: Size = None,
    bands: Bands = None,
    grey: GreyOption = False,
    window: Annotated[int | None, typer.Option(help="Side of a window, pixels.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Colour grey images, each in several ways, at full size, with a contact sheet.

    Of IMAGE come IMAGE_s001.png, … and IMAGE_sheet.png; of a FITS file, RGB FITS files with its
    coordinates too.
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.color.colorize import colorize as run
    from imgturbo.report.progress import task

    with task("colouring") as progress:
        written = run(
            load_bundle(bundle),
            images,
            out,
            samples=samples,
            temperature=temperature,
            seed=seed,
            size=size,
            bands=bands,
            grey=grey,
            overwrite=overwrite,
            progress=progress,
            window=window,
            device=device,
        )
    for path in written:
        if path.stem.endswith("_sheet"):
            typer.echo(path)


@latent.command()
def saturation(
    bundle: BundleOption,
    image: Image,
    out: Sheet,
    samples: Annotated[int, typer.Option(min=1, help="Rows.")] = 3,
    seed: Seed = 0,
    size: Size = None,
    bands: Bands = None,
    grey: GreyOption = False,
) -> None:
    """Scale the latents from 0 to 1.5: from the mean's colours to more than the draw's."""
    from imgturbo.color.latents import saturation as run

    options: dict[str, Any] = {"seed": seed, "size": size, "bands": bands, "grey": grey}
    run(_bundle(bundle), image, _png(out), samples=samples, **options)
    typer.echo(out)


@latent.command()
def interpolate(
    bundle: BundleOption,
    image: Image,
    out: Sheet,
    seed: Seed = 0,
    size: Size = None,
    bands: Bands = None,
    grey: GreyOption = False,
) -> None:
    """A grid of 5 × 5 mixtures of two draws."""
    from imgturbo.color.latents import interpolate as run

    run(_bundle(bundle), image, _png(out), seed=seed, size=size, bands=bands, grey=grey)
    typer.echo(out)


@latent.command()
def transfer(
    bundle: BundleOption,
    images: Images,
    reference: Annotated[Path, typer.Option(help="A colour picture, whose colours are taken.")],
    out: Sheet,
    mix: Annotated[
        str | None, typer.Option(help="Share of new noise a latent, finest first: 1,0.7,0,0.")
    ] = None,
    seed: Seed = 0,
    size: Size = None,
    bands: Bands = None,
    grey: GreyOption = False,
) -> None:
    """Colour images like a reference: its coarse latents, decoded with another lightness."""
    from imgturbo.color.latents import transfer as run

    try:
        shares = None if mix is None else [float(word) for word in mix.split(",")]
    except ValueError:
        raise ImgturboError(f"--mix {mix}: these are not numbers; write --mix 1,0.7,0,0") from None
    options: dict[str, Any] = {"seed": seed, "size": size, "bands": bands, "grey": grey}
    run(_bundle(bundle), images, _png(out), reference=reference, mix=shares, **options)
    typer.echo(out)


@latent.command()
def scales(
    bundle: BundleOption,
    image: Image,
    out: Sheet,
    samples: Annotated[int, typer.Option(min=1, help="Columns.")] = 5,
    seed: Seed = 0,
    size: Size = None,
    bands: Bands = None,
    grey: GreyOption = False,
) -> None:
    """What each level of latents decides: all zero but one, drawn anew."""
    from imgturbo.color.latents import scales as run

    options: dict[str, Any] = {"seed": seed, "size": size, "bands": bands, "grey": grey}
    run(_bundle(bundle), image, _png(out), samples=samples, **options)
    typer.echo(out)


def demo_colorize(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path(
        "demo-colorize"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A short form, for checking the installation.")
    ] = False,
) -> None:
    """Train a small colour flow on a few pictures, and colour what it has not seen."""
    from imgturbo.demos.colours import run_demo

    run_demo(out, quick=quick)


def _bundle(path: str) -> Any:
    from imgturbo.bundle import load_bundle

    return load_bundle(path)


def _png(out: Path) -> Path:
    if out.suffix.lower() != ".png":
        raise ImgturboError(f"{out}: the sheet is a PNG; name it {out.with_suffix('.png').name}")
    return out
