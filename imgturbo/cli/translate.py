"""The command that applies a bundle to images of any size, and to archives of fields."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgturbo.cli.options import (
    READ,
    WRITE,
    BundleName,
    Device,
    Direction,
    Ensemble,
    Names,
    Numbers,
    Overwrite,
    Readable,
    Seed,
    Temperature,
    Window,
    names,
    numbers,
)
from imgturbo.cli.output import say
from imgturbo.errors import ImgturboError
from imgturbo.remote import readable
from imgturbo.stopping import going_on

if TYPE_CHECKING:
    from imgturbo.bundle import Bundle
    from imgturbo.mosaic import CutoutSummary
    from imgturbo.mosaic.archive import Share

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def translate(
    bundle: BundleName,
    files: Annotated[
        list[Readable] | None,
        typer.Argument(
            metavar="FILE",
            parser=readable,
            help="FITS files (one a band, any order), a picture, or a table; here or at an "
            "address (https://, s3://).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FITS (or .png, .tif; of tables .csv, .ecsv, .fits, .h5) to write.", **WRITE
        ),
    ] = None,
    manifest: Annotated[
        Readable | None,
        typer.Option(help="CSV of fields: first column a name, then one a band.", **READ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for the manifest's fields, or for cut-outs.", **WRITE),
    ] = None,
    positions: Annotated[
        Readable | None,
        typer.Option(
            help="Table of ra and dec: translate cut-outs round them, and nothing else.", **READ
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Of a cut-out, across: 10arcsec, 0.5arcmin, 64pix.")
    ] = None,
    direction: Direction = "forward",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Draws of a stochastic model: mean and deviation.")
    ] = None,
    temperature: Temperature = 1.0,
    quantiles: Annotated[
        Numbers | None,
        numbers("--quantiles", "0.05,0.5,0.95", "Of the draws, as extensions Q05 …."),
    ] = None,
    raw_quantiles: Annotated[
        bool,
        typer.Option("--raw-quantiles", help="As drawn, though the bundle's are calibrated."),
    ] = False,
    keep_draws: Annotated[
        bool, typer.Option("--keep-draws", help="Each draw as an extension too: S001 ….")
    ] = False,
    ensemble: Ensemble = "none",
    bands: Annotated[
        Names | None, names("--bands", "Names of the given bands, if headers lie.")
    ] = None,
    grid: Annotated[
        Readable | None, typer.Option(help="FITS whose pixel grid the output shall have.", **READ)
    ] = None,
    window: Window = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels shared by windows; below the receptive field: blended."),
    ] = None,
    device: Device = None,
    seed: Seed = 0,
    match_sky: Annotated[
        bool, typer.Option("--match-sky", help="First bring the sky's level to the training's.")
    ] = False,
    keep: Annotated[
        Names | None,
        names("--keep", "Columns of a table to pass through, or * for all of them."),
    ] = None,
    overwrite: Overwrite = False,
    share: Annotated[
        str | None,
        typer.Option(help="Begin with this share of a manifest: 3/40, or auto for Slurm's place."),
    ] = None,
    only_share: Annotated[
        bool, typer.Option("--only-share", help="Leave the fields of other shares alone.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Workers of Dask: local, slurm, or an address (tcp://host:8786)."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Workers of 'local', or most jobs of 'slurm'.")
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(help="Of each job: partition=gpu,gres=gpu:1,time=2:0:0,cores=4,memory=32GB."),
    ] = None,
) -> None:
    """Translate whole FITS mosaics (or pictures), window by window, keeping WCS, units and masks.

    Interrupted, the same command continues. With --positions, cut-outs alone are translated.

    Of a bundle that was trained on tables, FILE is a table (CSV, ECSV, FITS, HDF5): columns go by
    their names and keep their units.

    On several devices: accelerate launch scripts/translate.py … On several machines: --share, or
    --scheduler with workers of Dask (docs/guide/archives.md).
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.mosaic import translate_file, translate_manifest
    from imgturbo.mosaic.archive.clusters import cluster
    from imgturbo.mosaic.archive.strips import translate_file_on
    from imgturbo.report.progress import task
    from imgturbo.sky.picture import is_picture

    options: dict[str, Any] = {
        "direction": direction,
        "samples": samples,
        "temperature": temperature,
        "quantiles": quantiles or (),
        "raw_quantiles": raw_quantiles,
        "keep_draws": keep_draws,
        "ensemble": ensemble,
        "bands": bands or None,
        "grid": grid,
        "window": window,
        "overlap": overlap,
        "device": device,
        "seed": seed,
        "match_sky": match_sky,
        "overwrite": overwrite,
    }
    if positions is not None or size is not None:
        say(_translate_cutouts(bundle, files, positions, size, out, out_dir, manifest, options))
        return
    if manifest is not None and (files or out is not None or out_dir is None):
        raise ImgturboError("translate: --manifest goes with --out-dir, without files or --out")
    if manifest is None and (not files or out is None):
        raise ImgturboError("translate: give FITS files and --out, or --manifest and --out-dir")
    if manifest is None and (share is not None or only_share):
        raise ImgturboError("translate: --share divides the fields of a --manifest")
    if scheduler is None and (jobs is not None or slurm is not None):
        raise ImgturboError("translate: --jobs and --slurm go with --scheduler")
    loaded = load_bundle(bundle)
    tables = _reads_rows(loaded, direction)
    if tables and scheduler is not None:
        raise ImgturboError("translate: --scheduler is for images; leave it out for tables")
    if tables and (manifest is not None or (files and len(files) > 1)):
        raise ImgturboError(f"translate: {loaded.path} translates tables; give it one table")
    if not tables and keep:
        raise ImgturboError("translate: --keep is for columns of tables; leave it out for images")
    client = None if scheduler is None else partial(cluster, scheduler, jobs, slurm)
    again = out is not None and (is_picture(out) or tables)
    with going_on(f"the same command {'begins anew' if again else 'continues'}"):
        if tables and files and out is not None:
            say(_translate_rows(loaded, files[0], out, keep or (), options))
            return
        with task("translating") as progress:
            options |= {"progress": progress, "log": progress.line}
            if manifest is not None and out_dir is not None:
                options |= {"share": _share(share, overwrite, scheduler), "only_share": only_share}
                summary = translate_manifest(loaded, manifest, out_dir, client=client, **options)
            elif files and out is not None and client is not None:
                made = translate_file_on(client, loaded, files, out, **options)
            elif files and out is not None:
                made = translate_file(loaded, files, out, **options)
    if manifest is None:
        say(made)
        return
    say(summary)
    raise typer.Exit(1 if summary.failed else 0)


def _share(share: str | None, overwrite: bool, scheduler: str | None) -> Share | str | None:
    """The share that is asked for; in a Slurm array the place in it, if it costs nothing.

    Tasks of an array that were given a manifest each do all of it nevertheless, since a process
    helps with other shares: but not where it does all again.
    """
    from imgturbo.mosaic.archive import Share

    if share is not None or overwrite or scheduler is not None:
        return share
    try:
        return Share.of_array()
    except ImgturboError:
        return None


def _translate_cutouts(
    bundle: str,
    files: Sequence[Readable] | None,
    positions: Readable | None,
    size: str | None,
    out: Path | None,
    out_dir: Path | None,
    manifest: Readable | None,
    options: dict[str, Any],
) -> CutoutSummary:
    """The job of a table of positions on one image."""
    from imgturbo.bundle import load_bundle
    from imgturbo.mosaic import translate_positions
    from imgturbo.report.progress import task

    to = out if out is not None else out_dir
    if not (positions and size and files) or to is None or None not in (out, out_dir) or manifest:
        raise ImgturboError(
            "translate: --positions goes with FITS files, --size and one of --out and --out-dir"
        )
    loaded = load_bundle(bundle)
    if _reads_rows(loaded, options["direction"]):
        raise ImgturboError(f"translate: {loaded.path} translates tables, which have no positions")
    again = "continues" if out is None else "begins anew"
    with going_on(f"the same command {again}"), task("translating") as progress:
        options |= {"progress": progress, "log": progress.line}
        return translate_positions(
            loaded, files, positions, size, to, folder=out is None, **options
        )


def _reads_rows(bundle: Bundle, direction: str) -> bool:
    """Whether a table is to be given, rather than images."""
    way = bundle.direction(direction)
    return "table" in (way.input.kind, way.output.kind)


def _translate_rows(
    bundle: Bundle, file: Readable, out: Path, keep: Sequence[str], options: dict[str, Any]
) -> Path:
    """The job of one table; options of images must have been left alone."""
    from imgturbo.report.progress import task
    from imgturbo.tables import translate_table_file

    left = dict(options)
    for name in ("bands", "grid"):
        if left.pop(name) is not None:
            raise ImgturboError(f"--{name} has a meaning for images only; leave it out for tables")
    with task("translating") as progress:
        return translate_table_file(bundle, file, out, keep=keep, progress=progress, **left)
