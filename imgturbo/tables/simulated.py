"""Parameters and observations that a simulator draws, as a table for others to read.

Rows are drawn in blocks of 4096, each a function of the seed and its number: so row g is the same
however many rows are asked for, and however many are written at a time. Memory is a block's. The
columns are the parameters', then the observations', with their units; a row of which nothing is
observed has NaN there.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imgturbo import __version__
from imgturbo.errors import ImgturboError
from imgturbo.places import free_place
from imgturbo.simulators import Simulator
from imgturbo.tables.reader import Column
from imgturbo.tables.writer import check_writable, write_table

__all__ = ["simulate_table"]

_BLOCK = 4096  # rows that are drawn together; another number would be other rows
_ROWS = 0x7AB  # tells this stream from those of targets and of proposals


def simulate_table(
    simulator: Simulator,
    out: Path | str,
    n: int,
    seed: int = 0,
    *,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Draw ``n`` sets of parameters and what is observed of each into a table's file.

    Args:
        simulator: of the problem.
        out: CSV, TSV, ECSV, FITS or HDF5, by its suffix.
        n: rows.
        seed: of the draws; fewer rows of the same seed are the first of more.
        overwrite: replace ``out``; without it an ``out`` that exists is refused.
        progress: called with (what, fraction done).

    Returns:
        ``out``, whole.

    Raises:
        ImgturboError: no rows are wanted, or ``out`` cannot be written; nothing new is there then.
    """
    out = Path(out)
    if n < 1 or seed < 0:
        raise ImgturboError(
            f"a table of {n} rows, seed {seed}: ask for 1 or more (--n), and a seed of 0 or more"
        )
    check_writable(out)
    free_place(out, overwrite=overwrite)
    number = np.dtype(np.float64)
    sides = simulator.parameters, simulator.observations
    columns = [
        Column(name, unit, number)
        for side in sides
        for name, unit in zip(side.names, side.units, strict=True)
    ]
    with write_table(out, columns, _said(simulator, out, n, seed)) as table:
        for first in range(0, n, _BLOCK):
            generator = np.random.default_rng([seed, first // _BLOCK, _ROWS])
            rows = np.concatenate(simulator.draw(generator, _BLOCK), 1)[: n - first]
            table.write({one.name: rows[:, k] for k, one in enumerate(columns)})
            if progress is not None:
                done = min(first + _BLOCK, n)
                progress(f"{done} of {n} rows", done / n)
    return out


def _said(simulator: Simulator, out: Path, n: int, seed: int) -> dict[str, Any]:
    """What the table says of its making, in words that FITS cards can hold."""
    command = ["imgturbo", "simulate", "--problem", simulator.name, "--n", str(n)]
    for name, value in simulator.set_options.items():
        command += ["--option", f"{name}={json.dumps(value)}"]
    command += ["--seed", str(seed), "--out", out.name]
    return {
        "CREATOR": f"imgturbo {__version__}",
        "PROBLEM": simulator.name,
        "SEED": seed,
        "HISTORY": [
            f"imgturbo {__version__}: {shlex.join(command)}",
            f"simulator {simulator.name}, digest {simulator.digest}",
        ],
    }
