"""Damaged manifests of archives: names that are paths, quotes, encodings, missing files.

    python -m benchmarks.faults.manifest --count 10000 --seed 0

Nothing may appear outside the folder of the outputs, nothing may be left aside in it, and a field
that fails says why in one line.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import torch

from benchmarks.faults.campaign import Limits, Trial, main
from benchmarks.faults.edits import flip
from benchmarks.faults.small import make_bundle, make_sky
from imgturbo.bundle import Bundle, load_bundle
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import ManifestSummary, translate_manifest

NAMES = [
    "a", "../a", "../../a", "a/b", "/tmp/evil", "..", ".", ".hidden", "", " ", "a b", "a\\b",
    "a\nb", "a\x00b", "é", "\u202eabc", "a" * 200, "a" * 201, "a" * 300, "é" * 120, "a" * 5000,
    "CON", "a:b", "-rf", "--help", "$(id)", "`id`", "a;b", "a|b", "*", "~", "%s", "{}", "a.fits",
    "a.png", "a.FITS", "a.", "a ", "\ta", "\r", "\x85", "\ud800", "./a", "a/", "//a", "a.fits.gz",
]  # fmt: skip
FILES = [
    "sky.fits", "missing.fits", "", " ", ".", "..", "/etc/passwd", "/dev/null", "folder",
    "sky.fits sky.fits", "sky.fits\x00", "s" * 5000, "~/x", "$HOME", "junk.fits", "empty.fits",
    "loop.fits", "http://example.com/x.fits", "\u202e.fits", "out/a.fits",
]  # fmt: skip
HEADERS = [
    "field", "file,field", "F606W,field,F814W", "name,path", "field,field", "field,F606W,F606W",
    "field,,", ",", "FIELD,FILE", "field;file", "\ufefffield,file", "field,FXXX",
    "field,F814W,F606W", "field, file ", '"field","file"', "field,files", "x,F606W",
]  # fmt: skip


def build(folder: Path) -> tuple[Bundle, Path]:
    torch.set_num_threads(1)
    base = folder / "archive"
    base.mkdir(exist_ok=True)
    make_sky(base / "sky.fits", 48, 56)
    (base / "folder").mkdir()
    (base / "junk.fits").write_bytes(b"junk")
    (base / "empty.fits").write_bytes(b"")
    os.symlink("loop.fits", base / "loop.fits")
    return load_bundle(make_bundle(folder / "bundle")), base


def attempt(state: tuple[Bundle, Path], rng: random.Random, folder: Path) -> Trial:
    bundle, base = state
    out, path = base / "out", base / "m.csv"
    shutil.rmtree(out, ignore_errors=True)
    content = _manifest(rng)
    path.write_bytes(content)
    before = _everything(folder)
    overwrite = rng.random() < 0.2

    def wrong(summary: ManifestSummary) -> str | None:
        odd = [said for said in summary.failed.values() if not said or "\n" in said]
        return f"a field failed without a line: {odd}" if odd else elsewhere(None)

    def elsewhere(_: ImgturboError | None) -> str | None:
        new = [p for p in _everything(folder) - before if p != out and out not in p.parents]
        aside = [p.name for p in out.glob(".*")]
        return f"written elsewhere: {new}" if new else f"left aside: {aside}" if aside else None

    def call() -> ManifestSummary:
        return translate_manifest(bundle, path, out, overwrite=overwrite, device="cpu")

    return Trial([repr(content[:300])], call, wrong, elsewhere)


def _everything(folder: Path) -> set[Path]:
    return {*folder.rglob("*"), *Path("/tmp").glob("evil*")}


def _manifest(rng: random.Random) -> bytes:
    header = rng.choice(["field,file", "field,F606W,F814W"])
    if rng.random() < 0.4:
        header = rng.choice(HEADERS)
    rows = [header]
    for _ in range(rng.choice([1, 1, 2, 3])):
        count = len(header.split(",")) if rng.random() < 0.95 else rng.randrange(6)
        cells = [rng.choice(NAMES)]
        cells += ["sky.fits" if rng.random() < 0.6 else rng.choice(FILES) for _ in range(count - 1)]
        rows.append(",".join(_quoted(cell, rng) for cell in cells))
    text = rng.choice(["\n", "\n", "\r\n", "\r"]).join(rows) + rng.choice(["", "\n", "\n\n"])
    content = text.encode("utf-8", "surrogatepass")
    way = rng.random()
    if way < 0.08:
        return flip(content, rng)
    if way < 0.1:
        return text.encode("utf-16", "surrogatepass")
    if way < 0.12:
        return content[: rng.randrange(len(content) + 1)]
    if way < 0.14:
        return rng.choice([b"", rng.randbytes(500)])
    if way < 0.15:
        return b"field,file\n" + b"x" * 200_000 + b",sky.fits\n"
    return content


def _quoted(cell: str, rng: random.Random) -> str:
    if rng.random() < 0.5 or any(c in cell for c in ',\n\r"'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000, Limits(space=0))
