"""What an interrupted translation leaves, damaged: journals and the file that grows.

    python -m benchmarks.faults.journal --count 10000 --seed 0

The same call must end with the file of a run that was left alone, but for its date, or in one line.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.campaign import Limits, Trial, main
from benchmarks.faults.edits import edited, flip
from benchmarks.faults.small import make_bundle, make_sky, undated
from imgturbo.bundle import Bundle, load_bundle
from imgturbo.mosaic import input as inputs
from imgturbo.mosaic import translate_file
from imgturbo.mosaic.journal import Journal
from imgturbo.sky import SkyReader

JOURNAL, PART, LOCK = ".out.fits.part.json", ".out.fits.part", ".out.fits.lock"
WAYS = [
    "tree", "tree", "bytes", "cut", "second", "cut part", "flip part", "flip pixels", "no part",
    "longer part", "done", "done", "aside", "fingerprint", "link", "folder", "folder part",
    "link part", "lock", "old", "nothing",
]  # fmt: skip
DONE = [
    [], [[-1, 0]], [[10**30, 0]], [["1", 2]], [[1.5, 0]], [[float("inf"), 0]], [None], 5, "12",
    {"1": 2}, [[1]], [[True, False]], [1, 2, 3], [[n, 0] for n in range(1000)],
]  # fmt: skip

Files = dict[str, bytes | Path | None]
"""By name: content, where a link leads, or None of a folder."""


class _Interrupted(Exception):
    pass


class State:
    """A bundle, the file of a run that was left alone, and what interrupted ones left."""

    def __init__(self, folder: Path) -> None:
        self.bundle: Bundle = load_bundle(make_bundle(folder / "bundle"))
        self.sky = make_sky(folder / "sky.fits", 60, 80)
        self.here = folder / "here"
        self.reader: SkyReader | None = None
        self.precious = folder / "precious"
        self.truth = self.run()
        self.left = [self._interrupted(count) for count in (1, 2, 5, 8)]

    def fresh(self) -> None:
        shutil.rmtree(self.here, ignore_errors=True)
        self.here.mkdir()
        self.precious.write_text("precious")

    def run(self, stop: int | None = None) -> list[bytes]:
        """The cards and pixels of the output, in the place that is empty or holds what was left."""
        self.here.mkdir(exist_ok=True)
        done = 0

        def progress(_: str, __: float) -> None:
            nonlocal done
            done += 1
            if done == stop:
                raise _Interrupted

        out = self.here / "out.fits"
        with self._opened_once():
            translate_file(self.bundle, self.sky, out, window=40, batch=2, progress=progress)
        return undated(out)

    @contextlib.contextmanager
    def _opened_once(self) -> Iterator[None]:
        """The sky stays open from one run to the next: it is not what is damaged here."""
        plain = inputs.open_sky

        def opened(*args: Any, **options: Any) -> SkyReader:
            if self.reader is None:
                self.reader = plain(*args, **options)
                self.reader.close = lambda: None  # type: ignore[method-assign]
            return self.reader

        inputs.open_sky = opened
        try:
            yield
        finally:
            inputs.open_sky = plain

    def _interrupted(self, count: int) -> Files:
        self.fresh()
        plain = Journal.mark

        def eager(journal: Journal, unit: int, checksum: int) -> None:
            journal._interval = 0
            plain(journal, unit, checksum)

        Journal.mark = eager  # type: ignore[method-assign]
        try:
            self.run(count)
            raise AssertionError(f"the output has fewer than {count} windows")
        except _Interrupted:
            pass
        finally:
            Journal.mark = plain  # type: ignore[method-assign]
        return {path.name: path.read_bytes() for path in self.here.iterdir()}


def build(folder: Path) -> State:
    torch.set_num_threads(1)
    return State(folder)


def attempt(state: State, rng: random.Random, _: Path) -> Trial:
    files, recipe = dict(rng.choice(state.left)), []
    for _ in range(rng.choice([1, 1, 2])):
        way = rng.choice(WAYS)
        recipe.append(way)
        _damage(files, way, rng, state.precious)
    state.fresh()
    for name, content in files.items():
        path = state.here / name
        if content is None:
            path.mkdir()
        elif isinstance(content, Path):
            os.symlink(content, path)
        else:
            path.write_bytes(content)

    def wrong(found: list[bytes]) -> str | None:
        if found != state.truth:
            pairs = zip(found, state.truth, strict=False)
            other = [(one[:30], two[:30]) for one, two in pairs if one != two]
            return f"the file differs: {len(found)} of {len(state.truth)} parts, {other[:3]}"
        if state.precious.read_text() != "precious":
            return "a file elsewhere was written"
        left = sorted({p.name for p in state.here.iterdir()} - {"out.fits", JOURNAL + ".tmp"})
        return f"left aside: {left}" if left else None

    return Trial(recipe, state.run, wrong)


def _damage(files: Files, way: str, rng: random.Random, elsewhere: Path) -> None:
    journal, part = files.get(JOURNAL), files.get(PART)
    if way in ("link", "folder"):
        files[JOURNAL] = elsewhere if way == "link" else None
    elif way in ("link part", "folder part"):
        files[PART] = elsewhere if way == "link part" else None
    elif way == "lock":
        files[LOCK] = rng.choice([b"", b"junk", b"[" * 5000, b'{"pid": 1, "host": "x"}', None])
    elif way == "aside":
        files[f".{JOURNAL}.part"] = b"x"
    elif way == "no part":
        files.pop(PART, None)
    elif isinstance(journal, bytes) and way in ("bytes", "cut", "second", "old"):
        files |= _other_journal(journal, way, rng)
    elif isinstance(journal, bytes) and way in ("tree", "done", "fingerprint"):
        files[JOURNAL] = _edited_journal(journal, way, rng)
    elif isinstance(part, bytes):
        files[PART] = _other_part(part, way, rng)


def _other_journal(journal: bytes, way: str, rng: random.Random) -> Files:
    if way == "bytes":
        return {JOURNAL: flip(journal, rng, 40)}
    if way == "cut":
        return {JOURNAL: journal[: rng.randrange(len(journal) + 1)]}
    if way == "old":
        try:
            fingerprint = json.loads(journal)["fingerprint"]
        except (ValueError, KeyError, TypeError):  # it is damaged already
            return {}
        return {JOURNAL: json.dumps({"fingerprint": fingerprint, "done": [*range(9)]}).encode()}
    other = rng.choice(
        [b"", b"{}", b"[]", b"null", b'{"fingerprint": 3, "done": 3}', journal, b"[" * 5000,
         b'{"fingerprint": "x", "done": [1e999]}']
    )  # fmt: skip
    return {f".out.fits.part-{rng.choice([1, 2, 99, 'x'])}.json": other}


def _edited_journal(journal: bytes, way: str, rng: random.Random) -> bytes:
    try:
        tree = json.loads(journal)
    except ValueError:  # it is damaged already
        return journal
    if way == "tree" or not isinstance(tree, dict):
        tree, _ = edited(tree, rng)
    elif way == "done":
        former = tree.get("done") if isinstance(tree.get("done"), list) else []
        tree["done"] = rng.choice([*DONE, former * 2, [*former, [rng.randrange(40), 0]]])
    else:
        tree["fingerprint"] = rng.choice(["", None, 3, [], "x"])
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _other_part(part: bytes, way: str, rng: random.Random) -> bytes:
    if way == "cut part":
        return part[: rng.randrange(len(part) + 1)]
    if way == "flip part" and part:
        return flip(part, rng, 2880)
    if way == "flip pixels" and part:
        at = rng.randrange(len(part))
        return part[:at] + bytes([part[at] ^ 1 << rng.randrange(8)]) + part[at + 1 :]
    return part + b"x" * 2880 if way == "longer part" else part


if __name__ == "__main__":
    main(__spec__.name, __doc__, 10_000, Limits(space=0))
