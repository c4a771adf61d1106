"""The one loop that every translation runs: read ahead, compute, write behind.

A *unit* is what can be finished, journalled and shared among processes on its own. Where windows
hold their whole halo (law 1) it is a window, whose core is written as it is. Where they overlap by
less, it is a row of windows, joined by `Blender`; a sweep that begins in the middle computes the
rows that reach into its first one again, for their share of the overlap.

Which windows go through the network together is a matter of the layout alone, never of what is left
to do: libraries round differently for stacks of other sizes, and a resumed image is to be that of a
run that was left alone, to the last bit. A window that was finished before is computed once more
where its neighbours in the stack were not, and not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgturbo.heap import kept
from imgturbo.mosaic.apply import Applier
from imgturbo.mosaic.blending import Blender
from imgturbo.mosaic.lane import Lane, ahead
from imgturbo.mosaic.layout import Layout
from imgturbo.mosaic.reading import Piece
from imgturbo.mosaic.reducers import Reducer
from imgturbo.mosaic.windows import Window, batches
from imgturbo.mosaic.zoom import flags_on, mask_on

__all__ = ["sweep"]

Float64 = npt.NDArray[np.float64]
Read = Callable[[Window], Piece]
PutFlags = Callable[[npt.NDArray[np.uint8], slice, slice], None]
Put = Callable[[npt.NDArray[np.float32], slice, slice, str], None]


@dataclass(frozen=True)
class _Group:
    """Equal-shaped windows computed together; `joined` adds them up, `quiet`: for that only."""

    windows: list[Window]
    units: list[int | None]  # the unit that each window is the last of, if it is and is wanted
    joined: Blender | None = None
    quiet: bool = False


def sweep(
    layout: Layout,
    units: Sequence[int],
    read: Read,
    apply: Applier,
    unstretch: Callable[[npt.NDArray[np.float32]], Float64],
    put: Put,
    put_flags: PutFlags,
    mark: Callable[[int], None],
) -> None:
    """Translate `units` in ascending order.

    Args:
        layout: the windows.
        units: numbers of those to do, ascending.
        read: a window as the network wants it.
        apply: the network.
        unstretch: (C', h, w) network output → flux, float64.
        put: takes finished pixels, ``(flux (C', h, w), rows, cols, extension)``.
        put_flags: takes the flags of a window's core, ``(flags (h', w'), rows, cols)``.
        mark: told of each unit once all its pixels have been put.
    """

    def fetch(group: _Group) -> tuple[npt.NDArray[np.float32], list[Piece]]:
        pieces = [read(window) for window in group.windows]
        if len(pieces) == 1:  # large windows come alone, and need not be copied
            return pieces[0].values[None], pieces
        return np.stack([piece.values for piece in pieces]), pieces

    extensions = layout.reduction.extensions

    def finish(group: _Group, reducers: list[Reducer], pieces: list[Piece]) -> None:
        for window, unit, reducer, piece in zip(
            group.windows, group.units, reducers, pieces, strict=True
        ):
            if group.joined is None and unit is None:
                continue  # finished before: here for its neighbours' sake
            planes, made = reducer.planes(), layout.output(window)
            valid = mask_on(piece.valid, layout.zoom)
            for plane in planes.values():
                plane[:, ~valid] = np.nan
            if not group.quiet:
                flags = flags_on(piece.flags, layout.zoom)
                size = [part.stop - part.start for part in (made.core_rows, made.core_cols)]
                put_flags(flags[: size[0], : size[1]], made.core_rows, made.core_cols)
            if group.joined is None:
                for name, plane in planes.items():
                    core = plane[:, *made.crop].astype(np.float32)
                    put(core, made.core_rows, made.core_cols, name)
            else:
                height, width = made.shape
                stacked = np.concatenate([planes[name] for name in extensions])
                joined = group.joined.add(made, stacked[:, :height, :width], group.quiet)
                for block, rows, cols in joined:
                    shares = np.split(block.astype(np.float32), len(extensions))
                    for name, share in zip(extensions, shares, strict=True):
                        put(share, rows, cols, name)
            if unit is not None:
                mark(unit)

    # Where one window is all, there is no second one to find the memory of the first.
    with kept(len(layout.windows) > 1), Lane() as lane:
        for group, (stack, pieces) in ahead(fetch, _groups(layout, units, apply)):
            reducers = [Reducer(layout.reduction) for _ in group.windows]
            origins = [window.origin for window in group.windows]
            # Where nothing was measured nothing is computed: mosaics have wide empty corners.
            empty = not any(piece.valid.any() for piece in pieces)
            for draw in _nothing(stack, apply) if empty else apply(stack, origins):
                lane.submit(_update, reducers, draw, unstretch)
            lane.submit(finish, group, reducers, pieces)


def _update(
    reducers: list[Reducer],
    draw: npt.NDArray[np.float32],
    unstretch: Callable[[npt.NDArray[np.float32]], Float64],
) -> None:
    for reducer, values in zip(reducers, draw, strict=True):
        reducer.update(unstretch(values))


def _nothing(stack: npt.NDArray[np.float32], apply: Applier) -> Iterator[npt.NDArray[np.float32]]:
    sides = map(apply.generator.written, stack.shape[2:])
    shape = (len(stack), apply.channels, *sides)
    for _ in range(apply.draws):
        yield np.zeros(shape, np.float32)


def _groups(layout: Layout, units: Sequence[int], apply: Applier) -> Iterator[_Group]:
    if layout.exact:
        number = {window.origin: unit for unit, window in enumerate(layout.windows)}
        wanted = set(units)
        for group in batches(layout.windows, layout.batch):
            own = [number[window.origin] for window in group]
            if not wanted.isdisjoint(own):
                yield _Group(group, [unit if unit in wanted else None for unit in own])
        return
    rows: dict[int, list[Window]] = {}
    for window in layout.windows:
        rows.setdefault(window.row, []).append(window)
    blender: Blender | None = None
    before = -1
    for row in units:
        if blender is None or row != before + 1:
            made = [layout.output(window) for window in layout.windows]
            blender = Blender(made, apply.channels * len(layout.reduction.extensions))
            for earlier in blender.reaching(row):
                for group in batches(rows[earlier], layout.batch):
                    yield _Group(group, [None] * len(group), blender, quiet=True)
        for group in batches(rows[row], layout.batch):
            ends = [row if window is rows[row][-1] else None for window in group]
            yield _Group(group, ends, blender)
        before = row
