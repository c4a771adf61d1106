"""Commands that score: evaluate a prediction, make ground truths, judge posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from imgturbo.cli.options import (
    LOCAL,
    READ,
    WRITE,
    BundleName,
    Device,
    Names,
    Overwrite,
    Readable,
    Seed,
    SimulatorOptions,
    names,
    simulator_options,
)
from imgturbo.errors import ImgturboError
from imgturbo.remote import local, readable

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def evaluate(
    pred: Annotated[
        Readable,
        typer.Argument(metavar="PRED", parser=readable, help="The translated image, or table."),
    ],
    target: Annotated[
        list[Readable],
        typer.Argument(
            metavar="TARGET", parser=readable, help="The truth: one file, or one a band."
        ),
    ],
    source: Annotated[
        list[Readable] | None,
        typer.Option(help="The input, for the baselines; repeat it, one a band.", **READ),
    ] = None,
    bands: Annotated[
        Names | None, names("--bands", "Names of the prediction's bands, if headers lie.")
    ] = None,
    ceiling: Annotated[
        Readable | None,
        typer.Option(help="What can be had at best: a noiseless truth, a second exposure.", **READ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the scores here.", **WRITE)
    ] = None,
    columns: Annotated[
        Names | None, names("--columns", "Of tables: the columns to score, or patterns.")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Of tables: their rows are independent samples.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Of tables: folder for scores.md and two figures.", **WRITE)
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


def _evaluate_rows(
    pred: Readable,
    truth: Readable,
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


@commands.command("evaluate-events")
def evaluate_events(
    events: Annotated[
        Path, typer.Argument(metavar="EVENTS", parser=local, help="Held-out events (.h5).")
    ],
    bundle: BundleName,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for events.json, events.png and migration.png.", **WRITE),
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


@commands.command()
def truth(
    out: Annotated[Path, typer.Option(help="The file to make, NAME.safetensors.", **WRITE)],
    problem: Annotated[str, typer.Option(help="Which simulator: arm, ballistics, linear, …")],
    option: SimulatorOptions = None,
    method: Annotated[
        Literal["nearest", "tolerance", "exact"],
        typer.Option(
            help="Keep the nearest of a pool, keep by a Gaussian tolerance, or draw exactly."
        ),
    ] = "nearest",
    targets: Annotated[int, typer.Option(min=2, help="Observations to draw posteriors of.")] = 1000,
    keep: Annotated[int, typer.Option(min=2, help="Draws of each posterior.")] = 1000,
    pool: Annotated[
        int, typer.Option(min=1, help="Proposals; with a tolerance, no more than that.")
    ] = 10_000_000,
    tolerance: Annotated[
        float, typer.Option(help="Standard deviation, in the observations' units.")
    ] = 0.01,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw posteriors of a simulator by rejection (ABC), to judge models by: the ground truth.

    The published protocols: --method nearest --pool 100000000 --keep 4000, and --method tolerance
    --tolerance 0.01 --pool 2000000000. A file that holds what is asked is read, not made again.
    """
    from imgturbo.report.posterior import truth_table
    from imgturbo.report.progress import task
    from imgturbo.scoring.truth import Asked, ground_truth
    from imgturbo.simulators import COMMAND_KEYS, make_simulator

    simulator = make_simulator(problem, simulator_options(option), COMMAND_KEYS)
    asked = Asked(method, targets, keep, pool, tolerance, seed)
    with task("ground truth") as progress:
        made = ground_truth(simulator, asked, out, overwrite=overwrite, progress=progress)
    truth_table(made)
    typer.echo(out)


@commands.command()
def posterior(
    bundle: BundleName,
    problem: Annotated[
        str | None, typer.Option(help="Which simulator; left out, the one it was trained on.")
    ] = None,
    option: SimulatorOptions = None,
    targets: Annotated[int, typer.Option(help="Observations to draw posteriors of.")] = 1000,
    samples: Annotated[int, typer.Option(help="Draws of each posterior.")] = 1000,
    truth: Annotated[
        Path | None,
        typer.Option(help="What 'imgturbo truth' made; for MMD² to the truth.", **LOCAL),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for posterior.json and the figures.", **WRITE)
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Judge the posteriors that a model draws: are they right, and what do they tell?

    Calibration, ranks, TARP, contraction, recovery, re-simulation, prediction, MMD².
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.report.posterior import posterior_table
    from imgturbo.report.progress import task
    from imgturbo.scoring.posterior import posterior as run
    from imgturbo.scoring.truth import GroundTruth

    with task("posteriors") as progress:
        result = run(
            load_bundle(bundle),
            problem=problem,
            options=simulator_options(option) or None,
            targets=targets,
            samples=samples,
            truth=None if truth is None else GroundTruth.read(truth),
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    posterior_table(result)
    if out is not None:
        typer.echo(out / "posterior.json")
