"""Commands that say how far a prediction and its intervals can be trusted: calibrate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imgturbo.cli.options import (
    READ,
    WRITE,
    BundleName,
    Device,
    Names,
    Numbers,
    Overwrite,
    Readable,
    Seed,
    Temperature,
    names,
    numbers,
)
from imgturbo.cli.output import note
from imgturbo.errors import ImgturboError
from imgturbo.remote import local, readable

__all__ = ["commands"]

commands = typer.Typer()

_LEVELS = Numbers((0.5, 0.68, 0.9, 0.95))


@commands.command()
def calibrate(
    bundle: BundleName,
    tiles: Annotated[
        Path | None,
        typer.Argument(
            metavar="TILES", parser=local, help="A tile store; its validation pairs are used."
        ),
    ] = None,
    fit: Annotated[
        bool,
        typer.Option("--fit", help="Put intervals right, on sky that the model never met."),
    ] = False,
    source: Annotated[
        list[Readable] | None,
        typer.Option(help="Of --fit: the input image; repeat it, one a band.", **READ),
    ] = None,
    truth: Annotated[
        list[Readable] | None,
        typer.Option(help="Of --fit: the truth there: one file, or one a band.", **READ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for calibration.json and calibration.png.", **WRITE)
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws a tile, 2 or more.")] = 64,
    temperature: Temperature = 1.0,
    levels: Annotated[
        Numbers, numbers("--levels", "0.5,0.9", "Of the central intervals.")
    ] = _LEVELS,
    limit: Annotated[int | None, typer.Option(help="At most so many tiles, evenly spread.")] = None,
    seed: Seed = 0,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare many samples of a stochastic model with the truth: are its error bars honest?

    Coverage of intervals, ranks, CRPS, best of N, likelihood; over all pixels and bright ones.

    With --fit they are made so: on a field (--source, --truth) that trained nothing and selected
    nothing, ends of intervals are moved until they hold (conformal calibration), and kept in the
    bundle; translate --quantiles then gives those.
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.report.calibration import calibration_table
    from imgturbo.report.progress import task
    from imgturbo.scoring.calibrate import calibrate as run

    if fit:
        if tiles is not None or out is not None or limit is not None:
            raise ImgturboError(
                "calibrate --fit: is of a field and writes into the bundle; leave TILES, --out and "
                "--limit out"
            )
        if not source or not truth:
            raise ImgturboError("calibrate --fit: give --source FILE and --truth FILE of a field")
        _fit(bundle, source, truth, samples, temperature, levels, seed, device, overwrite)
        return
    if tiles is None or source or truth:
        raise ImgturboError(
            "calibrate: give a tile store; or, to put intervals right, --fit, --source and --truth"
        )
    with task("calibrating") as progress:
        result = run(
            load_bundle(bundle),
            tiles,
            samples=samples,
            temperature=temperature,
            seed=seed,
            limit=limit,
            levels=levels,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    calibration_table(result)
    if out is not None:
        typer.echo(out / "calibration.json")


def _fit(
    name: str,
    source: list[Readable],
    truth: list[Readable],
    samples: int,
    temperature: float,
    levels: Numbers,
    seed: int,
    device: Any,
    overwrite: bool,
) -> None:
    """The job of ``--fit``."""
    from imgturbo.bundle import annotate, load_bundle
    from imgturbo.report.calibration import intervals_table
    from imgturbo.report.progress import task
    from imgturbo.scoring.conformal import fit_intervals

    loaded = load_bundle(name)
    if loaded.intervals is not None and not overwrite:
        raise ImgturboError(
            f"{loaded.path}: has calibrated intervals already; replace them with --overwrite"
        )
    with task("fitting intervals") as progress:
        found = fit_intervals(
            loaded,
            source,
            truth,
            samples=samples,
            temperature=temperature,
            seed=seed,
            levels=levels,
            device=device,
            progress=progress,
        )
    annotate(loaded, intervals=found.to_dict())
    intervals_table(found.to_dict())
    typer.echo(loaded.path)


@commands.command()
def report(
    pred: Annotated[
        Readable, typer.Argument(metavar="PRED", parser=readable, help="The translated image.")
    ],
    target: Annotated[
        list[Readable] | None,
        typer.Argument(
            metavar="TARGET",
            parser=readable,
            help="The truth: one file, or one a band.",
            show_default=False,
        ),
    ] = None,
    truth: Annotated[
        list[Readable] | None, typer.Option(help="The truth too; repeat it, one a band.", **READ)
    ] = None,
    source: Annotated[
        list[Readable] | None, typer.Option(help="The input image; repeat it, one a band.", **READ)
    ] = None,
    catalogue: Annotated[
        Readable | None,
        typer.Option(help="Table of the true sources: ra and dec, or x and y.", **READ),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="The model, for what it makes of noise: a name or a folder.")
    ] = None,
    draws: Annotated[
        int, typer.Option(min=0, help="Of a stochastic model: how probable each source is.")
    ] = 0,
    psf: Annotated[
        float | None,
        typer.Option(help="FWHM of the source's camera in arcsec, to put sources in."),
    ] = None,
    bands: Annotated[
        Names | None, names("--bands", "Names of the prediction's bands, if headers lie.")
    ] = None,
    card: Annotated[
        bool,
        typer.Option("--card", help="Write the short table into the bundle and its card."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the report.", **WRITE)] = Path("report"),
    overwrite: Overwrite = False,
) -> None:
    """Say what an astronomer must know before using a prediction, on a page with its images.

    imgturbo report prediction.fits truth.fits --source hubble.fits --out report

    Which sources are real, how far fluxes, colours, shapes and intervals can be trusted; without a
    truth, what the prediction itself, its source and its model tell.
    """
    from imgturbo.bundle import annotate, load_bundle
    from imgturbo.report.headline import COLUMNS, headline_rows
    from imgturbo.report.progress import task
    from imgturbo.report.tables import plain_table
    from imgturbo.scoring.trust.folder import free_report, write_report
    from imgturbo.scoring.trust.report import card_of, look_at

    if target and truth:
        raise ImgturboError("report: the truth is named twice; leave --truth out")
    truth = target or truth
    inputs = [pred, *(truth or ()), *(source or ()), *([catalogue] if catalogue else ())]
    free_report(out, inputs, overwrite=overwrite)
    loaded = None if bundle is None else load_bundle(bundle)
    if card and (loaded is None or not truth):
        raise ImgturboError("report --card: a card is a bundle's, of held-out sky whose truth is "
                            "known; give --bundle and --truth as well")  # fmt: skip
    with task("measuring") as progress:
        findings = look_at(
            pred,
            truth or None,
            source or None,
            catalogue=catalogue,
            bundle=loaded,
            draws=draws,
            psf=psf,
            bands=bands or None,
            progress=progress,
        )
        page = write_report(findings, out, f"Report on {pred.name}")
    if card and loaded is not None:
        annotate(loaded, headline=card_of(findings, loaded, pred))
    plain_table(list(COLUMNS), headline_rows(findings.numbers["headline"]))
    for line in findings.numbers["notes"]:
        note(line, UserWarning)
    typer.echo(page)
