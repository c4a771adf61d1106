"""WORK/results.json as the tables of docs/results.md.

    python -m benchmarks.smacs0723.table [--work WORK] [--where results.json …] [--rows PATTERN …]

One table of scores, one of costs, then the command of every row. Configs of the benchmark that no
row was made of are listed as "not run", where all rows are shown; nothing is estimated.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.smacs0723.field import ROOT, add_work, guarded
from imgturbo.errors import ImgturboError

__all__ = ["chosen", "not_run", "read_rows", "tables"]

_SCORES = {  # key: (heading, decimals)
    "psnr": ("PSNR dB ↑", 2),
    "mse": ("MSE ↓", 5),
    "ssim": ("SSIM ↑", 3),
    "haarpsi": ("HaarPSI ↑", 3),
    "spectrum_error": ("spectrum dex ↓", 3),
    "st_lpips": ("ST-LPIPS ↓", 3),
    "lpips": ("LPIPS ↓", 3),
    "frechet": ("Fréchet ↓", 1),
    "source_f1": ("sources F1 ↑", 3),
    "source_precision": ("precision", 2),
    "source_recall": ("recall", 2),
}
_COSTS = {
    "device": "device",
    "steps": "steps",
    "best_step": "best",
    "batch": "batch",
    "crop": "crop",
    "seed": "seed",
    "train_seconds": "training s",
    "parameters": "parameters",
    "passes": "passes a pixel",
    "translate_seconds": "strip s",
}
_LOWER = ("mse", "spectrum_error", "st_lpips", "lpips", "frechet")
_NEITHER = ("source_precision", "source_recall")


def read_rows(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Rows of several results files; a later file's row takes the place of an earlier one's.

    Raises:
        ImgturboError: no such file, or no results in it.
    """
    rows: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            rows |= json.loads(path.read_text())["rows"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ImgturboError(
                f"{path}: no results there; python -m benchmarks.smacs0723.run makes them"
            ) from None
    return rows


def not_run(rows: dict[str, dict[str, Any]], configs: Path) -> list[str]:
    """Configs of the benchmark without a row, relative to the repository."""
    wanted = [*configs.glob("published/*.yaml"), *configs.glob("smacs0723*.yaml")]
    done = {Path(row["config"]).resolve() for row in rows.values()}
    return sorted(
        str(path.relative_to(configs.parent)) for path in wanted if path.resolve() not in done
    )


def chosen(rows: dict[str, dict[str, Any]], patterns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Rows whose names match one of the patterns, in the patterns' order.

    Raises:
        ImgturboError: none does.
    """
    names = [name for pattern in patterns for name in fnmatch.filter(rows, pattern)]
    if not names:
        raise ImgturboError(f"no row is named like {' or '.join(patterns)}; there are {[*rows]}")
    return {name: rows[name] for name in names}


def tables(rows: dict[str, dict[str, Any]], missing: Sequence[str] = ()) -> str:
    """Markdown: scores (best of each in bold), costs, commands."""
    shown = [k for k in _SCORES if any(row["scores"].get(k) is not None for row in rows.values())]
    lines = _head(["row", *(_SCORES[key][0] for key in shown)])
    best = {key: _best(key, rows) for key in shown}
    for name, row in rows.items():
        cells = [_score(key, row["scores"].get(key), best[key]) for key in shown]
        lines.append(_line([name, *cells]))
    lines += [_line([f"`{name}`", "not run", *[""] * (len(shown) - 1)]) for name in missing]
    crops = {row["scores"].get("frechet_crops") for row in rows.values()} - {None}
    if crops:
        n = ", ".join(str(int(count)) for count in sorted(crops))
        lines += ["", f"Fréchet: EfficientNet-Lite0 features of {n} crops of 128 pixels a side."]
    lines += ["", *_head(["row", *_COSTS.values()])]
    lines += [_line([name, *(_cost(row.get(key)) for key in _COSTS)]) for name, row in rows.items()]
    lines += ["", *(f"- {name}: `{row['command']}`" for name, row in rows.items())]
    absent = [heading.strip(" ↑↓") for key, (heading, _) in _SCORES.items() if key not in shown]
    if absent:
        lines += ["", f"Not measured: {', '.join(absent)} (results.json says why)."]
    return "\n".join(lines).rstrip() + "\n"


def _best(key: str, rows: dict[str, dict[str, Any]]) -> float | None:
    if key in _NEITHER:
        return None
    values = [row["scores"][key] for row in rows.values() if row["scores"].get(key) is not None]
    return min(values) if key in _LOWER else max(values)


def _score(key: str, value: float | None, best: float | None) -> str:
    if value is None:
        return "–"
    text = f"{value:.{_SCORES[key][1]}f}"
    return f"**{text}**" if value == best else text


def _cost(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Markdown tables of the rows that were run.")
    parser.add_argument("--where", type=Path, nargs="+", help="results files (default: of WORK)")
    parser.add_argument("--rows", nargs="+", metavar="PATTERN", help="only rows of such names")
    add_work(parser)
    options = parser.parse_args()
    rows = read_rows(options.where or [options.work / "results.json"])
    if options.rows:
        print(tables(chosen(rows, options.rows)))
    else:
        print(tables(rows, not_run(rows, ROOT / "configs")))


if __name__ == "__main__":
    guarded(main)
