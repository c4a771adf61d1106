"""A file of events, generated in blocks: in parallel, resumable, the same however it came about.

Block n of a seed holds its first BLOCK accepted events, a pure function of (seed, n): of

    Pythia's seed = 1 + 10⁵ seed + n,      the detector's stream = (seed, n)

so no two blocks share numbers. A finished block is written whole into a folder beside the file,
``.NAME.blocks``; a killed job goes on with those that are missing. The first N events of a seed are
the same in every file, so that a finished file also grows: ask for more.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.events.collisions import SETTINGS, collisions, require_generators
from data_prep.events.detector import Detector
from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.events import Events, read_events, write_events
from imgturbo.files import remove, write_json, write_whole
from imgturbo.locks import locked
from imgturbo.places import free_place
from imgturbo.stopping import workers

__all__ = ["BLOCK", "generate_block", "simulate_events"]

Floats = NDArray[np.float64]

BLOCK = 250
_MOST_BLOCKS, _MOST_SEEDS = 100_000, 9_000  # Pythia's seeds end at 9·10⁸
_REMEDY = "remove the folder to begin anew"
DETECTOR = Detector()


def generate_block(seed: int, number: int, size: int = BLOCK) -> Floats:
    """The accepted events of one block.

    Args:
        seed: of the file.
        number: of the block.
        size: how many; the first ones of a larger block are those of a smaller one.

    Returns:
        (size, 2, 24): z and x of each event, GeV.

    Raises:
        ImgturboError: Pythia or fastjet is not installed.
    """
    detector, generator = DETECTOR, np.random.default_rng([seed, number])
    rows: list[Floats] = []
    for some in collisions(1 + _MOST_BLOCKS * seed + number):
        visible = [detector.visible(c.others, c.identities) for c in some]
        for collision, seen, jets in zip(some, visible, detector.cluster(visible), strict=True):
            measured = detector.see_electron(collision.electron, generator)
            if measured is None:
                continue
            x = detector.see(collision.electron, measured, seen, jets, generator)
            if x is not None:
                rows.append(np.stack([collision.partons.ravel(), x]))
        if len(rows) >= size:
            break
    return np.array(rows[:size])


def simulate_events(
    out: Path | str,
    *,
    events: int,
    seed: int = 1,
    processes: int = 1,
    block: int = BLOCK,
    overwrite: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Generate a file of collision events, or go on with one.

    Args:
        out: the file (.h5); one of the same seed and settings grows, and is whole at any time.
        events: how many it shall hold.
        seed: another seed gives other collisions, 0 to 8999.
        processes: how many work at the same time; the result does not depend on it.
        block: events of a block, which the result does depend on.
        overwrite: begin anew where a file of other events stands.
        progress: called as ``progress(what, fraction)``.

    Returns:
        The file.

    Raises:
        ImgturboError: Pythia or fastjet is not installed, the file is something else, or too many
            events are asked for.
    """
    out, blocks = Path(out), -(-events // block)
    if not (events >= 1 and blocks <= _MOST_BLOCKS and 0 <= seed < _MOST_SEEDS):
        raise ImgturboError(
            f"{events} events of seed {seed}: choose 1 to {_MOST_BLOCKS * block} events, and a "
            f"seed of 0 to {_MOST_SEEDS - 1}"
        )
    require_generators()
    settings = _settings(seed, block)
    with locked(out, "choose another --out"):
        earlier = _earlier(out, settings, overwrite)
        if earlier is not None and len(earlier) >= events:
            return out
        folder = out.with_name(f".{out.name}.blocks")
        _same_settings(folder, settings)
        held = 0 if earlier is None else len(earlier) // block
        _fill(folder, range(held, blocks), seed, block, processes, progress)
        parts = [] if earlier is None else [np.stack([earlier.z, earlier.x], 1)[: held * block]]
        parts += [_read_block(folder, n, block) for n in range(held, blocks)]
        rows = np.concatenate(parts)[:events]
        write_events(out, Events(rows[:, 0], rows[:, 1], settings))
        remove(folder)
    return out


def _fill(
    folder: Path,
    numbers: range,
    seed: int,
    block: int,
    processes: int,
    progress: Callable[[str, float], None] | None,
) -> None:
    """Generate the blocks that are not there yet."""
    missing = [n for n in numbers if not _block_file(folder, n).exists()]
    if not missing:
        return
    with workers(min(processes, len(missing))) as pool:
        jobs = [pool.submit(_write_block, folder, seed, n, block) for n in missing]
        for done, job in enumerate(as_completed(jobs), start=len(numbers) - len(missing) + 1):
            job.result()
            if progress is not None:
                progress(f"{done * block} of {len(numbers) * block} events", done / len(numbers))


def _write_block(folder: Path, seed: int, number: int, size: int) -> None:
    if multiprocessing.parent_process() is not None:
        os.dup2(2, 1)  # fastjet greets on standard output, which is the command's
    content = io.BytesIO()
    np.save(content, generate_block(seed, number, size), allow_pickle=False)
    write_whole(_block_file(folder, number), content.getvalue())


def _read_block(folder: Path, number: int, size: int) -> Floats:
    path = _block_file(folder, number)
    with door(path, remedy=_REMEDY):
        rows = np.load(path, allow_pickle=False)
    if rows.shape != (size, 2, 24) or rows.dtype != np.float64 or not np.isfinite(rows).all():
        raise ImgturboError(f"{path}: is no block of {size} events; {_REMEDY}")
    return np.asarray(rows, np.float64)


def _block_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def _earlier(out: Path, settings: dict[str, Any], overwrite: bool) -> Events | None:
    """What the file holds already; None where there is none that goes on."""
    if out.is_file():
        try:
            earlier = read_events(out)
        except ImgturboError:
            if not overwrite:
                raise
        else:
            if earlier.settings == settings:
                return earlier
    free_place(
        out, overwrite=overwrite, remedy="it is of other settings: another name, or --overwrite"
    )
    return None


def _same_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Begin a folder of blocks, or refuse one whose blocks are of other settings."""
    path = folder / "settings.json"
    if not path.exists():
        remove(folder)
        write_json(path, settings)
        return
    with door(path, remedy=_REMEDY):
        found = json.loads(path.read_bytes())
    if found != settings:
        raise ImgturboError(f"{folder}: holds blocks of other settings; {_REMEDY}")


def _settings(seed: int, block: int) -> dict[str, Any]:
    """All that the events are a function of, as JSON has it."""
    found = {
        "process": "pp -> t tbar -> e- nuebar b bbar u dbar",
        "seed": seed,
        "block": block,
        "pythia": list(SETTINGS),
        "detector": asdict(DETECTOR),
        "versions": {name: importlib.metadata.version(name) for name in ("pythia8mc", "fastjet")},
    }
    same: dict[str, Any] = json.loads(json.dumps(found))  # tuples are lists there
    return same
