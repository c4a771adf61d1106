"""The ``imgturbo`` command: simulate, prepare, train, translate, evaluate, inspect, demo.

Each command parses its words, calls one function of the library, and prints what came of it. Heavy
imports happen inside the commands, so that ``imgturbo --help`` answers at once. A mistake of the
user, in the words or in the files, is one line after ``error:`` and exit status 2 (see
:mod:`imgturbo.errors`).
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from imgturbo import __version__
from imgturbo.cli import color
from imgturbo.cli.bundles import add_commands
from imgturbo.errors import ImgturboError

__all__ = ["app", "main"]

app = typer.Typer(
    name="imgturbo",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Translate the sky as one telescope saw it into what another would have seen.",
    epilog="Start with 'imgturbo demo --out demo': the whole job on a simulated sky, in minutes.",
)


class Direction(StrEnum):
    forward = "forward"
    backward = "backward"


class Symmetries(StrEnum):
    none = "none"
    mirror = "mirror"
    flips = "flips"
    d4 = "d4"


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Values that replace the file's: train.steps=1000."),
]


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(f"imgturbo {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the FITS files and the truth catalogue.")],
    size: Annotated[int, typer.Option(min=64, help="Side of the Webb-like images, pixels.")] = 1024,
    seed: Annotated[int, typer.Option(help="Another seed is another sky.")] = 0,
    source_bands: Annotated[str, typer.Option(help="Of ACS: F435W, F606W, F814W.")] = "F606W,F814W",
    target_bands: Annotated[
        str, typer.Option(help="Of NIRCam: F090W, F115W, F150W, F200W, F277W, F356W, F444W.")
    ] = "F150W,F277W,F444W",
) -> None:
    """Make a sky and observe it with a Hubble-like and a Webb-like camera.

    Galaxies, stars and a cluster, each camera with its own PSF, pixel scale, depth, rotation and
    noise; one FITS file a band, and truth.ecsv with positions and magnitudes.
    """
    from data_prep.simulate import simulate as run
    from imgturbo.report.progress import task

    with task("simulating") as progress:
        pair = run(
            out,
            pixels=size,
            seed=seed,
            source_bands=source_bands.split(","),
            target_bands=target_bands.split(","),
            progress=progress,
        )
    for path in (*pair.source, *pair.target, pair.truth):
        typer.echo(path)


@app.command()
def prepare(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="YAML with a 'prepare' section; see configs/."),
    ] = None,
    overrides: Overrides = None,
    source: Annotated[
        list[Path] | None, typer.Option(help="A source file; repeat it, one a band.")
    ] = None,
    target: Annotated[
        list[Path] | None, typer.Option(help="A target file; repeat it, one a band.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The tile store to write (DIR.zarr).")] = None,
    aligned: Annotated[
        Path | None,
        typer.Option(help="Also write each field, source on the target's grid, into this folder."),
    ] = None,
) -> None:
    """Register, reproject and cut FITS files or pictures into training tiles.

    Either name a config (several fields, all settings), or give one field on the command line:

    imgturbo prepare --source hst_f606w.fits --source hst_f814w.fits --target jwst_f150w.fits
    --out tiles.zarr
    """
    from data_prep.prepare import prepare as run
    from imgturbo.config import Config, FieldConfig, load_config
    from imgturbo.report.progress import task
    from imgturbo.report.tables import prepare_table

    if config is not None and "=" in config.name and not config.exists():
        config, overrides = None, [str(config), *(overrides or [])]
    if config is not None and (source or target):
        raise ImgturboError(
            f"prepare: {config} names its own fields; leave out --source and --target, or the file"
        )
    if config is not None:
        settings = load_config(config, overrides or []).prepare
    elif source or target:
        settings = Config.from_overrides(overrides or []).prepare
        settings.fields = [FieldConfig(name="field", source=source or [], target=target or [])]
    else:
        raise ImgturboError("prepare: name a config file, or give --source and --target files")
    if out is not None:
        settings.out = out
    with task("preparing") as progress:
        report = run(settings, keep_aligned=aligned, progress=progress)
    prepare_table(report)


@app.command()
def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="YAML; see configs/ for examples.")
    ],
    overrides: Overrides = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew where a run of this name stands.")
    ] = False,
) -> None:
    """Train a model on a tile store; continues where it stopped.

    On several GPUs: accelerate launch scripts/train.py CONFIG [KEY=VALUE]…
    """
    from imgturbo.engines import load_settled
    from imgturbo.training import train as run

    _say(run(load_settled(config, overrides or []), resume=not fresh).message)


@app.command()
def translate(
    bundle: Annotated[str, typer.Option(help="Folder of a trained bundle.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="FITS files (one a band, any order) or a picture."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="FITS (or .png, .tif) to write.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV of fields: first column a name, then one a band.")
    ] = None,
    out_dir: Annotated[Path | None, typer.Option(help="Folder for the manifest's fields.")] = None,
    direction: Annotated[
        Direction, typer.Option(help="forward: source → target; backward: target → source.")
    ] = Direction.forward,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Draws of a stochastic model: mean and deviation.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Of the draws: 1 is the model's own spread, 0 none.")
    ] = 1.0,
    quantiles: Annotated[
        str | None, typer.Option(help="Of the draws, as extensions Q05 …: 0.05,0.5,0.95.")
    ] = None,
    keep_draws: Annotated[
        bool, typer.Option("--keep-draws", help="Each draw as an extension too: S001 ….")
    ] = False,
    ensemble: Annotated[
        Symmetries, typer.Option(help="Mean over symmetries: no more than data.augment had.")
    ] = Symmetries.none,
    bands: Annotated[
        str | None, typer.Option(help="Names of the given bands, comma-separated, if headers lie.")
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(help="FITS whose pixel grid the output shall have.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Side of a window, pixels.")] = None,
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels shared by windows; below the receptive field: blended."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
) -> None:
    """Translate whole FITS mosaics (or pictures), window by window, keeping WCS, units and masks.

    Interrupted, the same command continues.

    On several devices: accelerate launch scripts/translate.py …
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.mosaic import translate_file, translate_manifest
    from imgturbo.report.progress import task

    options: dict[str, Any] = {
        "direction": direction.value,
        "samples": samples,
        "temperature": temperature,
        "quantiles": _numbers("--quantiles", quantiles),
        "keep_draws": keep_draws,
        "ensemble": ensemble.value,
        "bands": bands.split(",") if bands else None,
        "grid": grid,
        "window": window,
        "overlap": overlap,
        "device": device,
        "seed": seed,
        "overwrite": overwrite,
    }
    if manifest is not None:
        if files or out is not None or out_dir is None:
            raise ImgturboError("translate: --manifest goes with --out-dir, without files or --out")
        with task("translating") as progress:
            summary = translate_manifest(
                load_bundle(bundle), manifest, out_dir, progress=progress, **options
            )
        _say(str(summary))
        raise typer.Exit(1 if summary.failed else 0)
    if not files or out is None:
        raise ImgturboError("translate: give FITS files and --out, or --manifest and --out-dir")
    with task("translating") as progress:
        _say(str(translate_file(load_bundle(bundle), files, out, progress=progress, **options)))


@app.command()
def evaluate(
    pred: Annotated[Path, typer.Argument(metavar="PRED", help="The translated image.")],
    target: Annotated[
        list[Path], typer.Argument(metavar="TARGET", help="The truth: one file, or one a band.")
    ],
    source: Annotated[
        list[Path] | None, typer.Option(help="The input, for the baselines; repeat it, one a band.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores here.")] = None,
) -> None:
    """Score a prediction beside the baselines: PSNR, SSIM, LPIPS, spectrum, on a stated stretch."""
    from imgturbo.files import write_json
    from imgturbo.report.tables import score_table
    from imgturbo.scoring.evaluate import evaluate as run

    scores = run(pred, target, source or None)
    if json_file is not None:
        write_json(json_file, scores)
    score_table(scores)


@app.command()
def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A FITS file, picture, tile store, bundle, run or checkpoint."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say in a screenful what a thing is, and what would go wrong with it."""
    from imgturbo.describe import describe
    from imgturbo.report.tables import description_table

    facts = describe(path)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        description_table(path, facts)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A short form, for checking the installation.")
    ] = False,
) -> None:
    """The whole job on a simulated sky: observe, prepare, train, translate, score."""
    from imgturbo.demos.sky import run_demo

    run_demo(out, quick=quick)


add_commands(app)
color.add_commands(app)


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    """Comma-separated numbers of an option."""
    try:
        return tuple(float(word) for word in text.split(",")) if text else ()
    except ValueError:
        raise ImgturboError(
            f"{option} {text}: these are not numbers; write {option} 0.05,0.5,0.95"
        ) from None


def _say(message: str) -> None:
    """Print once, however many processes `accelerate launch` has started."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(message)


def _note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A notice to the user is one line; those of libraries to developers are not shown."""
    if issubclass(category, UserWarning) and os.environ.get("RANK", "0") == "0":
        print(f"note: {' '.join(str(message).split())}", file=sys.stderr)


# Click's, which newer versions of typer carry inside them; both give it these descendants.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit; a user's mistake is one line on standard error and status 2."""
    warnings.showwarning = _note
    words = list(argv) if argv is not None else None
    try:
        # Not standalone, so that mistakes in the words look like all others.
        status = app(args=words, prog_name="imgturbo", standalone_mode=False)
    except ImgturboError as error:
        _fail(str(error))
    except _UsageError as error:
        _fail(_usage(error))
    except typer.Abort:
        sys.exit(130)
    except OSError as error:
        # What no part of the library has foreseen: a disk that fills up, a folder not ours.
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; check the path, its permissions and the disk")
    sys.exit(status or 0)


def _usage(error: Any) -> str:
    """A mistake in the command's words, and where the right ones are listed."""
    command = error.ctx.command_path if error.ctx is not None else "imgturbo"
    return f"{error.format_message().rstrip('.')}; see '{command} --help'"


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
