"""One mosaic on a cluster: its rows of windows, in strips, are tasks.

The driver begins the part file and finishes it; each task puts its windows into their places, with
a journal of its own (:mod:`imgturbo.mosaic.journal`), as the processes of ``accelerate launch`` do.
A strip whose worker dies is gone on with by another one, and so is the mosaic by the same command.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.mosaic.archive.tasks import MORE_MEMORY, BundleName, Here, Task, absolute, handed_out
from imgturbo.mosaic.files import Job, translate_file
from imgturbo.mosaic.input import Input
from imgturbo.mosaic.layout import Layout

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["translate_file_on"]

_STRIPS = 64  # at most: each opens the input anew


@dataclass(frozen=True)
class _Strip:
    """What a worker must know of the mosaic; the same for every strip."""

    bundle: BundleName
    files: tuple[Path, ...]
    out: Path
    direction: str
    bands: Sequence[str] | None
    grid: Path | str | None
    overwrite: bool
    settings: Settings
    digests: tuple[str, ...]
    layout: Layout


def translate_file_on(
    client: Callable[[], AbstractContextManager[Client]],
    bundle: Bundle,
    paths: Path | str | Sequence[Path | str],
    out: Path | str,
    direction: str = "forward",
    *,
    progress: Callable[[str, float], None] | None = None,
    log: Callable[[str], None] | None = None,
    **options: Unpack[SettingsDict],
) -> Path:
    """Translate one mosaic on the workers of a cluster; all see its files under the same paths.

    Args:
        client: opens the cluster, when all is ready for it.
        bundle, paths, out, direction, progress, log, options: as of `translate_file`.

    Raises:
        ImgturboError: as of `translate_file`; the scheduler is gone, or a strip cannot be made.
    """
    hands = partial(_hand_out, client, progress, log)
    more: dict[str, Any] = {"progress": progress, "log": log, "hands": hands, **options}
    return translate_file(bundle, paths, out, direction, **more)


def _hand_out(
    client: Callable[[], AbstractContextManager[Client]],
    progress: Callable[[str, float], None] | None,
    log: Callable[[str], None] | None,
    job: Job,
    left: Sequence[int],
) -> None:
    """Have the units made by the workers, all of them, before it returns."""
    source = job.source
    strip = _Strip(
        BundleName.of(job.bundle),
        tuple(map(absolute, source.files)),
        job.out.absolute(),
        source.way.name,
        source.bands,
        None if source.grid is None else absolute(source.grid),
        job.overwrite,
        job.settings,
        tuple(job.digests),
        job.layout,
    )
    name = sha256(repr((strip.bundle.hash, strip.out, job.digests)).encode())[:12]
    tasks = [
        Task(f"strip-{name}-{units[0]}", translate_strip, (strip, units, units[0] + 1), units)
        for units in _strips(job.layout, left)
    ]
    if not tasks:
        return
    done = 0
    with client() as opened, contextlib.closing(handed_out(opened, tasks, log)) as ended:
        for task, result in ended:
            if isinstance(result, BaseException):
                raise _named(job.out, result)
            done += len(task.of)
            if progress is not None:
                progress(job.out.name, done / len(left))


def _strips(layout: Layout, left: Sequence[int]) -> list[list[int]]:
    """Units in whole rows of windows, so that no stack of windows is computed twice."""
    rows: dict[int, list[int]] = {}
    for unit in left:
        rows.setdefault(layout.windows[unit].row if layout.exact else unit, []).append(unit)
    each = -(-len(rows) // _STRIPS) or 1
    together = list(rows.values())
    return [
        [unit for row in together[k : k + each] for unit in row]
        for k in range(0, len(together), each)
    ]


def _named(out: Path, error: BaseException) -> BaseException:
    from distributed import KilledWorker

    if not isinstance(error, KilledWorker):
        return error
    return ImgturboError(
        f"{out}: every worker that took a strip ended, for want of memory as a rule; "
        f"{MORE_MEMORY}, or smaller windows; the same command continues"
    )


def translate_strip(strip: _Strip, units: Sequence[int], rank: int) -> None:
    """What a worker runs: some units of a mosaic that the driver has begun.

    Raises:
        ImgturboError: as of `translate_file`.
    """
    here, bundle = Here(), strip.bundle.load()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the driver has said them
        source = Input(
            bundle, strip.files, strip.direction, strip.bands, strip.grid, strip.settings.match_sky
        )
    with source:
        job = Job(source, strip.out, bundle, here.settings(strip.settings), strip.overwrite)
        job.settle(strip.digests, strip.layout)
        done = job.finished(units)
        left = [unit for unit in units if unit not in done]
        job.part(left, rank, done, lambda what, fraction: here.check())
