"""Commands that score: evaluate a prediction, calibrate a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from imgturbo.cli.options import (
    BundleName,
    Device,
    Names,
    Numbers,
    Overwrite,
    Seed,
    Temperature,
    names,
    numbers,
)
from imgturbo.cli.output import note
from imgturbo.errors import ImgturboError

__all__ = ["commands"]

commands = typer.Typer()

_LEVELS = Numbers((0.5, 0.68, 0.9, 0.95))


@commands.command()
def evaluate(
    pred: Annotated[Path, typer.Argument(metavar="PRED", help="The translated image, or table.")],
    target: Annotated[
        list[Path], typer.Argument(metavar="TARGET", help="The truth: one file, or one a band.")
    ],
    source: Annotated[
        list[Path] | None, typer.Option(help="The input, for the baselines; repeat it, one a band.")
    ] = None,
    bands: Annotated[
        Names | None, names("--bands", "Names of the prediction's bands, if headers lie.")
    ] = None,
    ceiling: Annotated[
        Path | None,
        typer.Option(help="What can be had at best: a noiseless truth, a second exposure."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores here.")] = None,
    columns: Annotated[
        Names | None, names("--columns", "Of tables: the columns to score, or patterns.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Of tables: their rows are independent samples.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Of tables: folder for scores.md and two figures.")
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Score a prediction beside the baselines: PSNR, SSIM, LPIPS, spectrum, on a stated stretch.

    Bands go by their names. A prediction on another grid is resampled, which is said, with what a
    perfect prediction would score by that alone.

    Of tables (CSV, ECSV, FITS, HDF5): distances of each column's distribution, errors of paired
    rows, and whether a classifier can tell all columns from the truth's.
    """
    from imgturbo.tables import is_table

    if is_table(pred):
        if len(target) > 1 or source or bands or ceiling:
            raise ImgturboError(
                "evaluate: of tables one is scored against one; leave --source, --bands and "
                "--ceiling out"
            )
        _evaluate_rows(pred, target[0], json_file, columns, unpaired, out, seed, overwrite)
        return
    if columns or unpaired or out:
        raise ImgturboError("evaluate: --columns, --unpaired and --out are for tables")
    from imgturbo.files import write_json
    from imgturbo.places import free_place
    from imgturbo.report.tables import score_table
    from imgturbo.scoring.evaluate import MARK
    from imgturbo.scoring.evaluate import evaluate as run

    if json_file is not None:
        inputs = [pred, *target, *(source or ()), ceiling]
        free_place(json_file, inputs, mark=MARK, overwrite=overwrite)
    scores = run(pred, target, source or None, bands=bands or None, ceiling=ceiling)
    if json_file is not None:
        write_json(json_file, scores)
    score_table(scores)
    for line in (scores["resampling"] or {}).get("notes", ()):
        note(line, UserWarning)


def _evaluate_rows(
    pred: Path,
    truth: Path,
    json_file: Path | None,
    columns: Sequence[str] | None,
    unpaired: bool,
    out: Path | None,
    seed: int,
    overwrite: bool,
) -> None:
    """The job of two tables."""
    from imgturbo.files import write_json, write_whole
    from imgturbo.places import free_folder, free_place
    from imgturbo.report.distributions import (
        distribution_figure,
        migration_figure,
        rows_markdown,
        rows_score_table,
    )
    from imgturbo.report.preview import FIGURE
    from imgturbo.report.progress import task
    from imgturbo.scoring.tables import MARK, evaluate_tables, read_pair

    if json_file is not None:
        free_place(json_file, [pred, truth], mark=MARK, overwrite=overwrite)
    if out is not None:
        free_folder(out, [pred, truth])
        for name, mark in (
            ("scores.md", (b" against ", b"| column | unit |")),
            ("distributions.png", FIGURE),
            ("migration.png", FIGURE),
        ):
            free_place(out / name, [pred, truth], mark=mark, overwrite=overwrite)
    paired = False if unpaired else None
    with task("comparing") as progress:
        result = evaluate_tables(
            pred, truth, columns=columns, paired=paired, seed=seed, progress=progress
        )
    if json_file is not None:
        write_json(json_file, result)
    rows_score_table(result)
    if out is not None:
        write_whole(out / "scores.md", rows_markdown(result).encode())
        pair = read_pair(pred, truth, columns, paired)
        shown = (pair.names, pair.units, pair.prediction, pair.truth)
        distribution_figure(out / "distributions.png", *shown)
        if pair.paired:
            migration_figure(out / "migration.png", *shown)
        typer.echo(out / "scores.md")


@commands.command()
def calibrate(
    tiles: Annotated[
        Path, typer.Argument(metavar="TILES", help="A tile store; its validation pairs are used.")
    ],
    bundle: BundleName,
    out: Annotated[
        Path | None, typer.Option(help="Folder for calibration.json and calibration.png.")
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
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.report.calibration import calibration_table
    from imgturbo.report.progress import task
    from imgturbo.scoring.calibrate import calibrate as run

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


@commands.command("evaluate-events")
def evaluate_events(
    events: Annotated[Path, typer.Argument(metavar="EVENTS", help="Held-out events (.h5).")],
    bundle: BundleName,
    out: Annotated[
        Path | None, typer.Option(help="Folder for events.json, events.png and migration.png.")
    ] = None,
    thresholds: Annotated[
        Literal["own", "otus"],
        typer.Option(help="What events have passed: those generated here, or OTUS's public ones."),
    ] = "own",
    seed: Seed = 0,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Score an unfolding and a simulation of collision events, beside the published ones.

    Kolmogorov-Smirnov distances of ten observables and four reconstructed masses, of all generated
    events and of those that pass the thresholds, the statistical floor, a classifier.
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.events import OTUS_THRESHOLDS, SELECTION
    from imgturbo.report.events import events_table
    from imgturbo.scoring.events import evaluate_events as run

    cuts = SELECTION if thresholds == "own" else OTUS_THRESHOLDS
    content = run(
        load_bundle(bundle),
        events,
        out=out,
        thresholds=cuts,
        seed=seed,
        device=device,
        overwrite=overwrite,
    )
    events_table(content)
    if out is not None:
        typer.echo(out / "events.json")
