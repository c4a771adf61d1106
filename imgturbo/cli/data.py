"""Commands that make and look at data: simulate, prepare, inspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from imgturbo.cli.options import (
    READ,
    WRITE,
    JsonOutput,
    Names,
    Overrides,
    Overwrite,
    Readable,
    SimulatorOptions,
    SourceBands,
    SourceUnit,
    TargetBands,
    TargetUnit,
    config_and_overrides,
    names,
    simulator_options,
)
from imgturbo.errors import ImgturboError
from imgturbo.remote import readable
from imgturbo.stopping import going_on

__all__ = ["commands"]

commands = typer.Typer()

_ACS = Names(("F606W", "F814W"))
_NIRCAM = Names(("F150W", "F277W", "F444W"))


@commands.command()
def simulate(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the FITS files and the truth catalogue; with --problem, a table: "
            "NAME.csv, .ecsv, .fits or .h5.",
            **WRITE,
        ),
    ],
    problem: Annotated[
        str | None,
        typer.Option(help="Instead of a sky, rows of an inverse problem: arm, epidemic, …"),
    ] = None,
    n: Annotated[int, typer.Option("--n", help="With --problem: how many rows.")] = 10_000,
    option: SimulatorOptions = None,
    size: Annotated[int, typer.Option(min=64, help="Side of the Webb-like images, pixels.")] = 1024,
    seed: Annotated[
        int, typer.Option(min=0, max=1 << 32, help="Another is another sky, other rows.")
    ] = 0,
    source_bands: Annotated[Names, names("--source-bands", "Of ACS: F435W, F606W, F814W.")] = _ACS,
    target_bands: Annotated[
        Names,
        names("--target-bands", "Of NIRCam: F090W, F115W, F150W, F200W, F277W, F356W, F444W."),
    ] = _NIRCAM,
    stars: Annotated[float, typer.Option(min=0, help="Stars per square arcmin.")] = 18.0,
    noiseless: Annotated[
        bool, typer.Option("--noiseless", help="Write Webb's images without noise too.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make a sky and observe it with a Hubble-like and a Webb-like camera.

    Galaxies, stars and a cluster, each camera with its own PSF, pixel scale, depth, rotation and
    noise; one FITS file a band, and truth.ecsv with positions and magnitudes.

    With --problem NAME: a table of parameters and of what is observed of them (docs/inference.md).
    """
    _refuse_words_of_the_other(context, problem)
    if problem is not None:
        _simulate_rows(problem, option, n, seed, out, overwrite)
        return
    from data_prep.simulate import simulate as run
    from imgturbo.report.progress import task

    with task("simulating") as progress:
        pair = run(
            out,
            pixels=size,
            seed=seed,
            source_bands=source_bands,
            target_bands=target_bands,
            star_density=stars,
            noiseless=noiseless,
            overwrite=overwrite,
            progress=progress,
        )
    for path in (*pair.source, *pair.target, *pair.noiseless, pair.truth):
        typer.echo(path)


@commands.command("simulate-events")
def simulate_events(
    out: Annotated[
        Path, typer.Option(help="The file of events (.h5); one that is there grows.", **WRITE)
    ],
    events: Annotated[int, typer.Option(min=1, help="How many events it shall hold.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is other collisions.")] = 1,
    processes: Annotated[
        int, typer.Option(min=1, help="At work at a time; the events do not depend on it.")
    ] = 2,
    overwrite: Overwrite = False,
) -> None:
    """Collide protons: tops, their decays, showers, jets, a detector; partons beside what is seen.

    About 35 ms an event and core. Interrupted, the same command continues. Needs Pythia and
    fastjet: pip install 'imgturbo[hep]'.
    """
    from data_prep.events import simulate_events as run
    from imgturbo.report.progress import task

    with (
        going_on("the same command goes on with the blocks that are missing"),
        task("colliding") as progress,
    ):
        made = run(
            out,
            events=events,
            seed=seed,
            processes=processes,
            overwrite=overwrite,
            progress=progress,
        )
    typer.echo(made)


def _refuse_words_of_the_other(context: typer.Context, problem: str | None) -> None:
    """Refuse options of a sky for a problem, and the other way round."""
    sky = ("size", "source_bands", "target_bands", "stars", "noiseless")
    wrong = ("n", "option") if problem is None else sky
    for name in wrong:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            word = f"--{name.replace('_', '-')}"
            advice = "goes with --problem" if problem is None else "is of a sky, not of a problem"
            raise ImgturboError(f"simulate: {word} {advice}; leave it out")


def _simulate_rows(
    problem: str, option: list[str] | None, n: int, seed: int, out: Path, overwrite: bool
) -> None:
    from imgturbo.report.progress import task
    from imgturbo.simulators import COMMAND_KEYS, make_simulator
    from imgturbo.tables import simulate_table

    simulator = make_simulator(problem, simulator_options(option), COMMAND_KEYS)
    with task("simulating") as progress:
        made = simulate_table(simulator, out, n, seed, overwrite=overwrite, progress=progress)
    typer.echo(made)


@commands.command()
def prepare(
    config: Annotated[
        str | None,
        typer.Argument(metavar="CONFIG", help="YAML with a 'prepare' section; see configs/."),
    ] = None,
    overrides: Overrides = None,
    source: Annotated[
        list[Readable] | None, typer.Option(help="A source file; repeat it, one a band.", **READ)
    ] = None,
    target: Annotated[
        list[Readable] | None, typer.Option(help="A target file; repeat it, one a band.", **READ)
    ] = None,
    source_bands: SourceBands = None,
    target_bands: TargetBands = None,
    source_unit: SourceUnit = "",
    target_unit: TargetUnit = "",
    out: Annotated[
        Path | None, typer.Option(help="The tile store to write (DIR.zarr).", **WRITE)
    ] = None,
    aligned: Annotated[
        Path | None,
        typer.Option(
            help="Also write each field, source on the target's grid, into this folder.", **WRITE
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --aligned: replace what is there.")
    ] = False,
) -> None:
    """Register, reproject and cut FITS files or pictures into tiles; or scale and divide tables.

    Either name a config (several fields, all settings), or give one field on the command line:

    imgturbo prepare --source hst_f606w.fits --source hst_f814w.fits --target jwst_f150w.fits
    --out tiles.zarr
    """
    from data_prep.prepare import prepare as run
    from imgturbo.config import Config, FieldConfig, load_config
    from imgturbo.report.progress import task
    from imgturbo.report.tables import prepare_table

    file, values = config_and_overrides(config, overrides)
    if file is not None and (source_bands or target_bands or source_unit or target_unit):
        raise ImgturboError(
            f"prepare: {file} names its own fields; put source_bands, target_bands, source_unit "
            "and target_unit there"
        )
    if file is not None and (source or target):
        raise ImgturboError(
            f"prepare: {file} names its own fields; leave out --source and --target, or the file"
        )
    if file is not None:
        settings = load_config(file, values).prepare
    elif source or target:
        settings = Config.from_overrides(values).prepare
        settings.fields = [
            FieldConfig(
                name="field",
                source=source or [],
                target=target or [],
                source_bands=list(source_bands or ()),
                target_bands=list(target_bands or ()),
                source_unit=source_unit,
                target_unit=target_unit,
            )
        ]
    else:
        raise ImgturboError("prepare: name a config file, or give --source and --target files")
    if out is not None:
        settings.out = out
    advice = "the same command goes on with the fields that are not finished"
    with going_on(advice), task("preparing") as progress:
        report = run(settings, keep_aligned=aligned, overwrite=overwrite, progress=progress)
    prepare_table(report)


@commands.command()
def inspect(
    path: Annotated[
        Readable,
        typer.Argument(
            metavar="PATH",
            parser=readable,
            help="An image, table, tile store, bundle, run or checkpoint.",
        ),
    ],
    as_json: JsonOutput = False,
) -> None:
    """Say in a screenful what a thing is, and what would go wrong with it."""
    from imgturbo.describe import describe
    from imgturbo.report.tables import description_table

    facts = describe(path)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        description_table(path, facts)
