"""Tables on standard output: what was prepared, how a prediction scores, what a file is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from data_prep.prepare import PrepareReport

__all__ = [
    "description_table",
    "known_sky_table",
    "plain_table",
    "prepare_table",
    "score_table",
    "wide_console",
]

_SCORES = {  # key of a score: (heading, decimals)
    "psnr": ("PSNR dB ↑", 2),
    "ssim": ("SSIM ↑", 4),
    "ms_ssim": ("MS-SSIM ↑", 4),
    "mse": ("MSE ↓", 5),
    "spectrum_error": ("spectrum dex ↓", 3),
    "coherence": ("coherence ↑", 3),
    "haarpsi": ("HaarPSI ↑", 3),
    "source_f1": ("sources F1 ↑", 3),
    "lpips": ("LPIPS ↓", 3),
    "st_lpips": ("ST-LPIPS ↓", 3),
    "frechet": ("Fréchet ↓", 2),
    "frechet_crops": ("its crops", 0),
}

_MEANING = {  # of the columns beside the prediction's
    "perfect": "a perfect prediction, resampled as this one was",
    "input": "the input as it is",
    "affine": "the best affine colour map of the input",
    "bicubic": "the input by cubic convolution on the finer grid",
    "ceiling": "what was said to be the best that can be had",
    "new noise": "the target with fresh noise, about what its noiseless truth would score",
}

_WIDE = 160  # columns where there is no terminal; rich would assume 80, and fold


def plain_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print words in columns, the first to the left and the others to the right."""
    table = Table()
    for k, column in enumerate(header):
        table.add_column(escape(column), justify="right" if k else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    wide_console().print(table)


def score_table(result: dict[str, Any]) -> None:
    """Print what :func:`imgturbo.scoring.evaluate.evaluate` returned."""
    perfect = (result.get("resampling") or {}).get("perfect")
    named = {
        "prediction": result["prediction"],
        "perfect": perfect,
        "input": result["baselines"]["identity"],
        "affine": result["baselines"]["affine"],
        "bicubic": result["baselines"].get("bicubic"),
        "ceiling": result["ceilings"]["given"],
        "new noise": result["ceilings"]["again"],
    }
    rows = {name: scores for name, scores in named.items() if scores is not None}
    shown = [k for k in _SCORES if any(scores.get(k) is not None for scores in rows.values())]
    table = Table()  # a line a score: there are many of them, and a terminal may have 80 columns
    table.add_column("")
    for name in rows:
        table.add_column(name, justify="right")
    for key in shown:
        heading, decimals = _SCORES[key]
        table.add_row(heading, *(_number(row.get(key), decimals) for row in rows.values()))
    console = wide_console()
    console.print(table)
    said = [f"{name}: {_MEANING[name]}" for name in rows if name in _MEANING]
    if any(row.get("frechet") is not None for row in rows.values()):
        said.append("Fréchet distance: of EfficientNet-Lite0's features")
    if said:
        console.print("; ".join(said))
    if len(result.get("by_band", ())) > 1:
        console.print(_band_table(result))
    for interval, found in (result.get("calibration") or {}).items():
        console.print(
            f"{interval} holds {found['coverage']:.1%} of the target's values, "
            f"nominal {found['nominal']:.1%}"
        )
    stretch = result["stretch"]
    console.print(
        f"bands {escape(', '.join(result['bands']))}; stretch: {stretch['from']}; data range 1; "
        f"{result['valid_fraction']:.1%} of the pixels valid"
    )
    for note in result["notes"]:
        console.print(escape(note))


def _band_table(result: dict[str, Any]) -> Table:
    """A line a band: the prediction's scores, and the PSNR of what is scored beside it."""
    table = Table()
    table.add_column("band")
    keys = ("psnr", "ssim", "mse")
    for key in keys:
        table.add_column(_SCORES[key][0], justify="right")
    beside = {
        "input": "identity",
        "affine": "affine",
        "bicubic": "bicubic",
        "ceiling": "ceiling",
        "new noise": "again",
    }
    others = {
        name: result["beside_by_band"][label]
        for name, label in beside.items()
        if label in result["beside_by_band"]
    }
    for name in others:
        table.add_column(f"{name} PSNR", justify="right")
    for band, scores in result["by_band"].items():
        own = (_number(scores[key], _SCORES[key][1]) for key in keys)
        psnrs = (_number(rows[band]["psnr"], 2) for rows in others.values())
        table.add_row(escape(band), *own, *psnrs)
    return table


def known_sky_table(result: dict[str, Any]) -> None:
    """Print what :mod:`imgturbo.scoring.known_sky` found: what is made up, fluxes, colours."""
    made_up = result["made_up"]
    table = Table(title="a sky whose truth is known", title_justify="left")
    for column in ("", "sources", *made_up):
        table.add_column(escape(column), justify="left" if not column else "right")
    made = (f"{number:.1f}" for number in made_up.values())
    table.add_row("made up from noise, per arcmin²", "–", *made)
    for kind in ("galaxies", "stars"):
        for row in result[kind]:
            name = f"flux ratio, {kind} of {row['from']:.0f}–{row['to']:.0f} mag"
            ratios = (
                f"{ratio:.2f}"
                + ("" if row["error"][band] is None else f" ± {row['error'][band]:.2f}")
                for band, ratio in row["ratio"].items()
            )
            table.add_row(name, str(row["sources"]), *ratios)
    console = wide_console()
    console.print(table)
    for row in result["colour"]:
        errors = ", ".join(f"{name} {error:+.3f}" for name, error in row["error"].items())
        console.print(
            f"colour error of {row['sources']} sources with input colours of {row['from']:.2f} to "
            f"{row['to']:.2f} mag: {escape(errors)}"
        )


def prepare_table(report: PrepareReport) -> None:
    """Print one row a field, then the totals."""
    if any(field.rows is not None for field in report.fields):
        _rows_table(report)
        return
    table = Table()
    for name in (
        *("field", "matched", "rejected", "before px", "after px", "held out px"),
        *("valid", "train", "validation"),
    ):
        table.add_column(name, justify="left" if name == "field" else "right")
    for field in report.fields:
        table.add_row(
            escape(field.name),
            *("–" if n is None else str(n) for n in (field.matched, field.rejected)),
            _number(field.residual_before, 2),
            _number(field.residual_after, 2),
            _number(field.residual_held_out, 2),
            f"{field.valid_fraction:.0%}",
            str(field.train),
            str(field.validation),
        )
    console = wide_console()
    console.print(table)
    console.print(
        f"{report.train} training and {report.validation} validation tiles in "
        f"{escape(str(report.out))}"
    )
    misaligned = sum(field.misaligned for field in report.fields)
    if misaligned:
        console.print(
            f"{misaligned} tiles left out: misaligned by more than 'prepare.tile.max_residual'"
        )


def _rows_table(report: PrepareReport) -> None:
    """The same of tables of numbers: a line a file."""
    table = Table()
    for name in ("file", "rows", "complete", "left out", "train", "validation", "test"):
        table.add_column(name, justify="left" if name == "file" else "right")
    for field in report.fields:
        counts = (field.refused, field.train, field.validation, field.test)
        table.add_row(
            escape(field.name), str(field.rows), f"{field.valid_fraction:.1%}", *map(str, counts)
        )
    console = wide_console()
    console.print(table)
    console.print(
        f"{report.train} training and {report.validation} validation rows in "
        f"{escape(str(report.out))}"
    )


def description_table(path: Path, facts: dict[str, Any]) -> None:
    """Print what :func:`imgturbo.describe.describe` found, its warnings last."""
    console = wide_console()
    console.print(f"[bold]{escape(str(path))}[/bold]: {escape(str(facts['what']))}")
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        if key not in ("what", "warnings"):
            table.add_row(escape(key), escape(str(value)))
    console.print(table)
    for warning in facts["warnings"]:
        console.print(f"[yellow]! {escape(warning)}[/yellow]")


def wide_console() -> Console:
    """Standard output; without a terminal wide enough that no line of a log is folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None or value != value else f"{value:.{decimals}f}"
