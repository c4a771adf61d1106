"""Damaged tables: CSV, TSV, ECSV, FITS and HDF5, by bytes, by cards, by cells.

    python -m benchmarks.faults.tables [--count 10000] [--seed 0] [--workers 2]

Whole tables of every format are damaged and read: columns, types, rows by blocks of two sizes, and
by ``inspect``. Silent are blocks that disagree, and other values in a binary file that was only cut
short, or whose scale or missing value (TSCALn, TZEROn, TNULLn) nobody can read. A table of text
that was cut may end within a number; no reader can tell.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits as astropy_fits
from astropy.table import MaskedColumn, Table
from numpy.typing import NDArray

from benchmarks.faults import fits
from benchmarks.faults.campaign import Trial, main
from benchmarks.faults.edits import cut, flip
from benchmarks.faults.wholes import emptied
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.tables import open_table

ROWS = 40
BLOCKS = (7, 1000)
CELLS = [
    "", " ", "nan", "inf", "-inf", "1e400", "1e-400", "1D5", "1,5", "0x10", "1_000", "--", "null",
    "masked", '"', '""', "'", "a\tb", "a;b", "é", "\ufeff", "\x00", "\u202e", "\ud800", "9" * 5000,
    "1" * 30, "True", "T", "#", "# %ECSV 1.0", "---", "x" * 200_000, "1 2", "(1,2)", "=1+1", "\\N",
]  # fmt: skip
LINES = [
    "", ",", ",,,,,,,,", "#", "# %ECSV 0.9", "# ---", "# - {name: a, datatype: float64}",
    "# - {name: a, datatype: object}", "# - {name: a, unit: furlong, datatype: xxx}", "a,a,a,a",
    "# !!python/object/apply:os.mkdir [x]", "# &a [*a]", "# delimiter: ';'", '"', "1",
]  # fmt: skip
SCALES = re.compile(r"edit at byte \d+: (T(?:SCAL|ZERO|NULL)\d) *= *(.*)")

Values = dict[str, NDArray[Any]]


class State(NamedTuple):
    """Whole tables by name, and the numbers that are read of them."""

    files: dict[str, bytes]
    truth: dict[str, Values]


def table() -> Table:
    """Text, whole numbers, numbers and truths; some cells are missing."""
    rng = np.random.default_rng(2)
    missing = rng.random(ROWS) < 0.2
    return Table(
        {
            "name": [f"s{k}" for k in range(ROWS)],
            "count": MaskedColumn(rng.integers(0, 999, ROWS), mask=missing),
            "flux": rng.normal(size=ROWS),
            "good": rng.random(ROWS) < 0.5,
        }
    )


def build(folder: Path) -> State:
    whole = table()
    for name in ("a.csv", "a.tsv", "a.ecsv", "a.fits", "a.h5"):
        kind = {"a.csv": "ascii.csv", "a.tsv": "ascii.tab", "a.ecsv": "ascii.ecsv"}.get(name)
        options = {"path": "t", "serialize_meta": True} if name == "a.h5" else {}
        whole.write(folder / name, format=kind, **options)
    columns = [
        astropy_fits.Column("text", "3A", array=["ab"] * ROWS),
        astropy_fits.Column("scaled", "I", array=np.arange(ROWS)),
        astropy_fits.Column("null", "J", null=7, array=np.arange(ROWS)),
        astropy_fits.Column("wide", "D", unit="nJy", array=np.arange(ROWS) / 7),
    ]
    scaled = astropy_fits.BinTableHDU.from_columns(columns)
    scaled.header.update({"TSCAL2": 0.01, "TZERO2": 3.0})
    scaled.writeto(folder / "scaled.fits")
    columns = [
        astropy_fits.Column("n", "I6", array=np.arange(ROWS)),
        astropy_fits.Column("x", "E15.7", array=np.arange(ROWS) / 3),
    ]
    astropy_fits.TableHDU.from_columns(columns).writeto(folder / "text.fits")
    import h5py

    with h5py.File(folder / "columns.hdf5", "w") as file:
        file["x"], file["y"] = np.arange(ROWS) / 3, np.arange(ROWS)
        file.create_dataset("z", data=np.arange(2.0 * ROWS).reshape(ROWS, 2), compression="gzip",
                            chunks=(8, 2), fletcher32=True)  # fmt: skip
    paths = sorted(folder.iterdir())
    state = State({p.name: p.read_bytes() for p in paths}, {p.name: read(p) for p in paths})
    emptied(folder)
    return state


def read(path: Path) -> Values:
    """All that a table holds, by blocks of two sizes, which must agree."""
    found: list[Values] = []
    for rows in BLOCKS:
        with open_table(path) as opened:
            kept = [name for name, column in opened.columns.items() if column.usable]
            types = opened.types(kept)
            numbers = [name for name in kept if types[name].kind in "iuf"]
            blocks = list(opened.blocks(numbers, kept, rows))
            if sum(map(len, blocks)) != opened.length:
                raise AssertionError("blocks are not as many rows as the table says")
        one = {f"{n}#": np.concatenate([b.numbers[:, k] for b in blocks] or [np.empty(0)])
               for k, n in enumerate(numbers)}  # fmt: skip
        found.append(
            one | {n: np.concatenate([b.kept[n] for b in blocks] or [np.empty(0)]) for n in kept}
        )
    one, other = found
    if not all(_same(one[name], other[name]) for name in one):
        raise AssertionError("blocks of different sizes differ")
    return one


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")


def attempt(state: State, rng: random.Random, folder: Path) -> Trial:
    emptied(folder)
    name = rng.choice(sorted(state.files))
    path = folder / name
    content, recipe, only_cut = _damaged(state.files[name], name, rng)
    path.write_bytes(content)

    def call() -> Values:
        try:
            found = read(path)
        except ImgturboError:
            describe(path)
            raise
        describe(path)
        return found

    def wrong(found: Values) -> str | None:
        truth = state.truth[name]
        same = found.keys() == truth.keys() and all(_same(found[k], truth[k]) for k in truth)
        if only_cut and not same:
            return "a table that was cut is read with other values"
        scale = SCALES.match(recipe[0]) if len(recipe) == 1 else None
        if scale is not None and not same and not _is_number(scale[2]):
            return f"values without {scale[1]}, which nobody can read"
        return None

    def refused(error: ImgturboError) -> str | None:
        return None if str(folder) in str(error) else "a refusal does not name the file"

    return Trial([name, *recipe], call, wrong, refused)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text.strip().replace("D", "E"))))
    except ValueError:
        return False


def _damaged(content: bytes, name: str, rng: random.Random) -> tuple[bytes, list[str], bool]:
    """The damaged bytes, what was done, and whether a binary table was only cut short."""
    if name.endswith(".fits"):
        return fits.damaged(content, rng, "")
    recipe: list[str] = []
    binary = name.endswith(("h5", "hdf5"))
    ways = ["flip", "flip", "garbage", "cut"] if binary else ["cell"] * 4 + ["line", "flip", "cut"]
    only_cut = binary
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        way = rng.choice(ways)
        only_cut &= way == "cut"
        if way == "cut":
            content = cut(content, rng)
        elif way == "flip":
            content = flip(content, rng, len(content) if rng.random() < 0.5 else 800)
        elif way == "garbage":
            content, _ = fits.garbage(content, rng)
        else:
            content = _edited(content, way, name, rng)
        recipe.append(way)
    return content, recipe, only_cut


def _edited(content: bytes, way: str, name: str, rng: random.Random) -> bytes:
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    at = rng.randrange(len(lines))
    if way == "line":
        lines[at : at + rng.randrange(2)] = [rng.choice(LINES)]
    else:
        mark = {"a.csv": ",", "a.tsv": "\t"}.get(name, " ")
        cells = lines[at].split(mark)
        cells[rng.randrange(len(cells))] = rng.choice(CELLS)
        lines[at] = mark.join(cells)
    text = rng.choice(["\n", "\n", "\n", "\r\n", "\r"]).join(lines)
    return text.encode("utf-8", "surrogatepass" if "\ud800" in text else "surrogateescape")


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000)
