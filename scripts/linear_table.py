"""Write a table of a simulator's draws, for configs/vectors/table.yaml and docs/tables.md.

    python scripts/linear_table.py runs/table/linear.csv [ROWS]

Columns z1 … z3 are parameters, x1 … x5 noisy sums of them (:mod:`imgturbo.simulators.linear`), run
the number of a hundred rows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from imgturbo.simulators import Linear
from imgturbo.tables import Column, write_table


def main(out: Path, rows: int) -> None:
    """Draw the rows, with seed 0, and write them."""
    simulator, generator = Linear(), np.random.default_rng(0)
    z = simulator.prior(generator, rows)
    x = simulator.observe(generator, z)
    sides = zip((simulator.parameters, simulator.observations), (z, x), strict=True)
    values = {name: c for side, v in sides for name, c in zip(side.names, v.T, strict=True)}
    values["run"] = np.arange(rows) // 100
    columns = [Column(name, "", column.dtype) for name, column in values.items()]
    with write_table(out, columns, {"ORIGIN": "linear simulator, seed 0"}) as table:
        table.write(values)
    print(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20_000)
