"""Further commands of ``imgturbo``: calibrate, export.

As in :mod:`imgturbo.cli.main`, which puts them on its list, heavy imports happen inside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgturbo.errors import ImgturboError

if TYPE_CHECKING:
    from imgturbo.config import Config

__all__ = ["add_commands", "calibrate", "export"]


def calibrate(
    tiles: Annotated[
        Path, typer.Argument(metavar="TILES", help="A tile store; its validation pairs are used.")
    ],
    bundle: Annotated[str, typer.Option(help="Folder of a trained bundle, a stochastic one.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for calibration.json and calibration.png.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws a tile, 2 or more.")] = 64,
    temperature: Annotated[float, typer.Option(help="Of the draws; 1 is the model's own.")] = 1.0,
    levels: Annotated[
        str, typer.Option(help="Of the central intervals, comma-separated.")
    ] = "0.5,0.68,0.9,0.95",
    limit: Annotated[int | None, typer.Option(help="At most so many tiles, evenly spread.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …")] = None,
) -> None:
    """Compare many samples of a stochastic model with the truth: are its error bars honest?

    Coverage of intervals, ranks, CRPS, best of N, likelihood; over all pixels and bright ones.
    """
    from imgturbo.bundle import load_bundle
    from imgturbo.report.calibration import calibration_table
    from imgturbo.report.progress import task
    from imgturbo.scoring.calibrate import calibrate as run

    try:
        wanted = [float(word) for word in levels.split(",")]
    except ValueError:
        raise ImgturboError(
            f"--levels {levels}: these are not numbers; write --levels 0.5,0.9"
        ) from None
    with task("calibrating") as progress:
        result = run(
            load_bundle(bundle),
            tiles,
            samples=samples,
            temperature=temperature,
            seed=seed,
            limit=limit,
            levels=wanted,
            device=device,
            out=out,
            progress=progress,
        )
    calibration_table(result)
    if out is not None:
        typer.echo(out / "calibration.json")


def export(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder of a trained bundle.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the new bundle.")],
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
    from imgturbo.bundle import blend, load_bundle, save_bundle

    given = load_bundle(bundle)
    if given.path.resolve() == out.resolve():
        raise ImgturboError(f"{out}: is the bundle itself; name another folder")
    record = {**given.record, "exported_from": given.hash}
    if toward is not None:
        other = load_bundle(toward)
        blend(given, other, share)
        # The scores were of other weights.
        record |= {"blended": {"toward": other.hash, "share": share}, "validation": {}}
    name = save_bundle(
        out,
        decoder=given.decoder,
        encoder=given.encoder,
        config=_without_folders(given.config),
        sides={"source": given.source, "target": given.target},
        record=record,
        half=half,
    )
    size = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    typer.echo(f"{out}: {name}, {size / 1e6:.2f} MB of weights")


def _without_folders(config: Config) -> Config:
    """The config with bare file names: where they lay is nobody else's business."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(part) for key, part in value.items()}
        if isinstance(value, list):
            return [bare(part) for part in value]
        return Path(value.name) if isinstance(value, Path) else value

    return type(config).model_validate(bare(config.model_dump(by_alias=True)))


def add_commands(app: typer.Typer) -> None:
    """Put these commands on the list of ``imgturbo``."""
    app.command()(calibrate)
    app.command()(export)
