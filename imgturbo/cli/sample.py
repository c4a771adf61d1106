"""The command that draws from a latent space, and brings images there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from imgturbo.cli.options import WRITE, BundleName, Device, Overwrite, Readable, Seed, Temperature
from imgturbo.cli.output import say
from imgturbo.errors import ImgturboError
from imgturbo.remote import readable

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def sample(
    bundle: BundleName,
    out: Annotated[
        Path,
        typer.Option(
            help="FITS stack or PNG sheet; of rows .csv, .tsv, .ecsv, .fits or .h5.", **WRITE
        ),
    ],
    files: Annotated[
        list[Readable] | None,
        typer.Argument(
            metavar="FILE", parser=readable, help="With --reconstruct: FITS files, or a picture."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many samples.")] = 64,
    seed: Seed = 0,
    temperature: Temperature = 1.0,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels, where codes are maps.")
    ] = None,
    interpolate: Annotated[
        str | None, typer.Option(help="Two numbers of samples, A,B: the way from one to the other.")
    ] = None,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="Bring FILE there and back; print the PSNR.")
    ] = False,
    path: Annotated[
        Literal["direct", "reverse"] | None,
        typer.Option(help="Of --reconstruct: direct x → z → x, reverse z → x → z."),
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw images out of the prior that a model was trained on, or bring images there and back.

    Sample k of a seed is always the same, however many are drawn.
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.report.progress import task
    from imgturbo.sampling import reconstruct as there_and_back
    from imgturbo.sampling import write_reconstruction, write_samples

    if reconstruct != bool(files):
        raise ImgturboError("sample: FILEs go with --reconstruct, and it with them")
    loaded = load_bundle(bundle)
    if files:
        found = there_and_back(loaded, files, path, device=device)
        say(write_reconstruction(found, out, loaded, overwrite=overwrite))
        say(f"{found.path} path: PSNR {found.psnr:.2f} dB of the stretched values")
        return
    with task("sampling") as progress:
        made = write_samples(
            loaded,
            out,
            n,
            seed,
            temperature=temperature,
            size=size,
            between=None if interpolate is None else _two(interpolate),
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    say(made)


def _two(text: str) -> tuple[int, int]:
    try:
        one, other = map(int, text.split(","))
    except ValueError:
        raise ImgturboError(
            f"--interpolate {text}: give the numbers of two samples, as --interpolate 0,1"
        ) from None
    return one, other
