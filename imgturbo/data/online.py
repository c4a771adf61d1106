"""A simulator as a source of training data: both sides are drawn afresh at every step.

Sample g is a pair (z, x) of parameters and what is observed of them, drawn from a stream in which
no number comes back (see :mod:`imgturbo.data.philox`); ``given`` says which of the two is the
source. Of the first g samples ⌊g·f⌋ are pairs, by default all; beside the others' z stands the x of
another draw. Validation has a stream of its own, the same for every seed. A row with NaN, which is
a simulator's way to say that there is nothing to observe, is not valid, holds zeros, is no pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import DataConfig, SimulatorConfig
from imgturbo.data.batch import Batch
from imgturbo.data.hiding import refuse_hiding
from imgturbo.data.philox import Use, stream
from imgturbo.data.source import Source, asked_fraction, numbers_of, pairs_among
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.side import Side
from imgturbo.simulators import Simulator, make_simulator

__all__ = ["SimulatorSource"]

_BLOCK = 64  # samples that are simulated together


class SimulatorSource(Source):
    """Batches that a simulator draws.

    Args:
        wish: the simulator's name, and which of its sides is the source.
        config: batch size a process, pairing.
        seed: of the draws.
        rank, world: this process, and how many there are.
        simulator: used in the place of the one that ``wish`` names.

    Raises:
        ImgturboError: no such simulator, or a crop of rows of a table.
    """

    extent = whole = None

    def __init__(
        self,
        wish: SimulatorConfig,
        config: DataConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
        simulator: Simulator | None = None,
    ) -> None:
        self._read_as(rank, world)
        self.simulator = simulator or make_simulator(wish.name, wish.options)
        self.name = f"the simulator {self.simulator.name}"
        _refuse(self.name, config)
        self._turned = wish.given == "observations"
        sides = self.simulator.parameters, self.simulator.observations
        self.source, self.target = sides[::-1] if self._turned else sides
        content: list[Any] = [self.simulator.name, self.simulator.version, wish.given]
        if self.simulator.set_options:
            content.append(self.simulator.set_options)
        described = json.dumps([*content, *(side.to_dict() for side in sides)], sort_keys=True)
        self.digest = sha256(described.encode())[:16]
        self.batch_size, self.workers, self.seed = config.batch_size, config.workers, seed
        self._count = wish.validation
        asked = asked_fraction(config)
        self._fraction = Fraction(1) if asked is None else asked
        self.pairs = None if self._fraction else 0

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0), always the same for the same step."""
        numbers = numbers_of(self, step)
        paired, _ = pairs_among(numbers, self._fraction)
        z, x = stream(self._draw, self.seed, Use.DRAW, numbers, _BLOCK)
        if not paired.all():
            _, other = stream(self._draw, self.seed, Use.DRAW_OTHER, numbers, _BLOCK)
            x[~paired] = other[~paired]
        return self._batch("training", z, x, paired, numbers)

    def validation(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Pairs of the validation stream."""
        count = self._count if limit is None else min(limit, self._count)
        for first in range(0, count, batch_size):
            numbers = np.arange(first, min(first + batch_size, count))
            z, x = stream(self._draw, 0, Use.VALIDATE, numbers, _BLOCK)
            yield self._batch("validation", z, x, np.ones(len(numbers), bool), numbers)

    def _draw(
        self, generator: np.random.Generator, n: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """z and x of n samples, stretched."""
        parameters, observed = self.simulator.draw(generator, n)
        drawn = (
            _stretched(parameters, self.simulator.parameters),
            _stretched(observed, self.simulator.observations),
        )
        return drawn[::-1] if self._turned else drawn

    def _batch(
        self,
        what: str,
        z: NDArray[np.float32],
        x: NDArray[np.float32],
        paired: NDArray[np.bool_],
        numbers: NDArray[np.int64],
    ) -> Batch:
        (z, z_known), (x, x_known) = (_known(rows) for rows in (z, x))
        return Batch.of(
            tuple(f"{what} draw {number}" for number in numbers.tolist()),
            z=z,
            x=x,
            z_valid=z_known,
            x_valid=x_known,
            paired=paired & z_known[:, 0] & x_known[:, 0],
            z_index=numbers,
            x_index=numbers,
        )


def _stretched(rows: NDArray[np.float64], side: Side) -> NDArray[np.float32]:
    """Rows (n, C) as networks are given them."""
    return np.ascontiguousarray(side.stretch(rows.T).T, dtype=np.float32)


def _known(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows with zeros where they hold NaN, and which rows hold none, (n, 1)."""
    known = np.asarray(~np.isnan(rows).any(1, keepdims=True))
    return np.where(known, rows, np.float32(0)), known


def _refuse(name: str, config: DataConfig) -> None:
    """Refuse wishes that rows drawn by a simulator cannot fulfil."""
    if config.crop is not None:
        raise ImgturboError(
            f"'data.crop' is {config.crop} but {name} draws rows of a table; leave it out"
        )
    refuse_hiding(config, f"{name} draws both sides")
    if config.tiles is not None:
        raise ImgturboError(
            f"{name} draws both sides, so that {config.tiles} would not be read; leave "
            "'data.tiles' or 'data.source' out"
        )
