"""Commands of colour: colorize, and what the latents of a colour flow hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imgturbo.cli.options import (
    READ,
    WRITE,
    BundleName,
    Device,
    Numbers,
    Overwrite,
    Readable,
    Seed,
    Temperature,
    Window,
    numbers,
)
from imgturbo.remote import readable

__all__ = ["commands"]

commands = typer.Typer()
latent = typer.Typer(
    help="What the latents of a colour flow hold: one contact sheet a command.",
)

Image = Annotated[
    Readable, typer.Argument(metavar="IMAGE", parser=readable, help="A grey picture or FITS file.")
]
Images = Annotated[
    list[Readable],
    typer.Argument(metavar="IMAGE", parser=readable, help="Grey pictures, FITS files of one band."),
]
Sheet = Annotated[Path, typer.Option("--out", help="The sheet to write (.png).", **WRITE)]
Size = Annotated[
    int | None,
    typer.Option(
        "--size", help="Shorter side that the network sees; 0: as it is; default: as trained."
    ),
]
Band = Annotated[
    str | None, typer.Option("--bands", help="The band to colour of a FITS file with several.")
]
Grey = Annotated[bool, typer.Option("--grey", help="Of a colour picture, take the lightness.")]


@commands.command()
def colorize(
    bundle: BundleName,
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.", **WRITE)],
    samples: Annotated[int, typer.Option(help="Draws of colours.")] = 8,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    size: Size = None,
    bands: Band = None,
    grey: Grey = False,
    window: Window = None,
    device: Device = None,
    overwrite: Overwrite = False,
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
    bundle: BundleName,
    image: Image,
    out: Sheet,
    samples: Annotated[int, typer.Option(min=1, help="Rows.")] = 3,
    seed: Seed = 0,
    size: Size = None,
    bands: Band = None,
    grey: Grey = False,
    overwrite: Overwrite = False,
) -> None:
    """Scale the latents from 0 to 1.5: from the mean's colours to more than the draw's."""
    given = (bundle, image, out, seed, size, bands, grey, overwrite)
    _draw("saturation", *given, samples=samples)


@latent.command()
def interpolate(
    bundle: BundleName,
    image: Image,
    out: Sheet,
    seed: Seed = 0,
    size: Size = None,
    bands: Band = None,
    grey: Grey = False,
    overwrite: Overwrite = False,
) -> None:
    """A grid of 5 × 5 mixtures of two draws."""
    given = (bundle, image, out, seed, size, bands, grey, overwrite)
    _draw("interpolate", *given)


@latent.command()
def transfer(
    bundle: BundleName,
    images: Images,
    reference: Annotated[
        Readable, typer.Option(help="A colour picture, whose colours are taken.", **READ)
    ],
    out: Sheet,
    mix: Annotated[
        Numbers | None,
        numbers("--mix", "1,0.7,0,0", "Share of new noise a latent, finest first."),
    ] = None,
    seed: Seed = 0,
    size: Size = None,
    bands: Band = None,
    grey: Grey = False,
    overwrite: Overwrite = False,
) -> None:
    """Colour images like a reference: its coarse latents, decoded with another lightness."""
    given = (bundle, images, out, seed, size, bands, grey, overwrite)
    _draw("transfer", *given, reference=reference, mix=mix)


@latent.command()
def scales(
    bundle: BundleName,
    image: Image,
    out: Sheet,
    samples: Annotated[int, typer.Option(min=1, help="Columns.")] = 5,
    seed: Seed = 0,
    size: Size = None,
    bands: Band = None,
    grey: Grey = False,
    overwrite: Overwrite = False,
) -> None:
    """What each level of latents decides: all zero but one, drawn anew."""
    given = (bundle, image, out, seed, size, bands, grey, overwrite)
    _draw("scales", *given, samples=samples)


def _draw(
    what: str,
    bundle: str,
    images: Path | list[Path],
    out: Path,
    seed: int,
    size: int | None,
    bands: str | None,
    grey: bool,
    overwrite: bool,
    **own: Any,
) -> None:
    """Have a sheet made by a function of :mod:`imgturbo.color.latents`, and say where it lies."""
    from imgturbo.bundle import load_bundle
    from imgturbo.color import latents

    options = {"seed": seed, "size": size, "bands": bands, "grey": grey, "overwrite": overwrite}
    getattr(latents, what)(load_bundle(bundle), images, out, **options, **own)
    typer.echo(out)


commands.add_typer(latent, name="latent")
