"""Pairs of which a training is not to know, to learn what pairs are worth: ``data.hide_pairs``.

Of the n pairs of a store, in an order π that the seed draws, the first n − round(h·n) are known and
the others hidden: so what is known at h = 0.95 is known at 0.75 too, in every process and every
run of that seed. A hidden pair is two single tiles. Its z comes up among the unpaired sources, its
x among the unpaired targets, and the two never beside each other.

For that the unpaired samples are looked at in blocks of L consecutive numbers. Where z_i and x_i of
a block are one hidden pair, x_i changes places with the next x_j for which x_j ≠ z_i and x_i ≠ z_j.
Every exchange parts one pair and joins none, and leaves which tiles the block shows as they are: so
both marginals stay covered evenly, and a sample is a function of its number alone.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import DataConfig
from imgturbo.data.passes import Passes
from imgturbo.data.philox import Use, philox
from imgturbo.errors import ImgturboError

__all__ = ["Apart", "known_pairs", "refuse_hiding"]

_BLOCK = 128  # unpaired samples that may change places


def known_pairs(
    paired: NDArray[np.bool_], config: DataConfig, seed: int, where: str
) -> NDArray[np.bool_]:
    """Which rows of a store are pairs that the training knows of.

    Args:
        paired: (N,), which are pairs.
        config: ``hide_pairs``, and what may contradict it.
        seed: of the choice.
        where: the store, for messages.

    Raises:
        ImgturboError: there is nothing to hide, what is asked hides nothing, or hides the pairs
            that the config asks for besides.
    """
    if not config.hide_pairs:
        return paired
    if config.pairing == "unpaired" or config.paired_fraction == 0:
        key = "pairing: unpaired" if config.pairing == "unpaired" else "paired_fraction: 0"
        raise ImgturboError(
            f"'data.{key}' knows of no pairs, so that 'data.hide_pairs' has none to hide; leave "
            "one of them out"
        )
    pairs = np.flatnonzero(paired)
    if not len(pairs):
        raise ImgturboError(
            f"{where}: no training tile is a pair, so that 'data.hide_pairs' has none to hide; "
            "leave it out"
        )
    share = Fraction(config.hide_pairs).limit_denominator(1_000_000)
    hidden = int(share * len(pairs) + Fraction(1, 2))
    _refuse_no_difference(config, hidden, len(pairs), where)
    order = philox(seed, Use.HIDE, 0).permutation(len(pairs))
    known = np.zeros_like(paired)
    known[pairs[order[: len(pairs) - hidden]]] = True
    return known


def _refuse_no_difference(config: DataConfig, hidden: int, pairs: int, where: str) -> None:
    """Refuse a share that hides no pair, or all of them by surprise."""
    share = config.hide_pairs
    if not hidden:
        raise ImgturboError(
            f"{where}: 'data.hide_pairs' is {share:g}, which is none of {pairs} pairs; leave it "
            f"out, or hide {1 / pairs:.2g} and more"
        )
    if hidden < pairs:
        return
    if share < 1:
        raise ImgturboError(
            f"{where}: 'data.hide_pairs' is {share:g}, which leaves none of {pairs} pairs; set it "
            f"to 1 to train without pairs, or to at most {1 - 1 / pairs:.4g}"
        )
    if config.pairing == "paired" or config.paired_fraction:
        key = "pairing: paired" if config.pairing == "paired" else "paired_fraction"
        raise ImgturboError(
            f"{where}: 'data.hide_pairs: 1' hides all pairs, but 'data.{key}' asks for some; leave "
            "one of them out"
        )


def refuse_hiding(config: DataConfig, what: str) -> None:
    """Refuse to hide pairs where none come from a tile store.

    Raises:
        ImgturboError: ``hide_pairs`` is set.
    """
    if config.hide_pairs:
        raise ImgturboError(
            f"'data.hide_pairs' hides pairs of a tile store, but {what}; leave it out"
        )


class Apart:
    """Unpaired samples in which the two tiles of a hidden pair never meet.

    Args:
        sources, targets: passes over the rows of either side.
        hidden: (N,), rows whose two sides are kept apart.
        where: the store, for messages.

    Raises:
        ImgturboError: there are too few other tiles to keep them apart.
    """

    def __init__(
        self, sources: Passes, targets: Passes, hidden: NDArray[np.bool_], where: str
    ) -> None:
        self._sources, self._targets, self._hidden = sources, targets, hidden
        # How often a row may stand in a block, which begins and ends anywhere within its passes.
        most = np.zeros(len(hidden))
        for passes in (sources, targets):
            counts = np.bincount(passes.pool, minlength=len(hidden))
            most += counts * (_BLOCK / len(passes) + 2)
        if (most[hidden] >= _BLOCK).any():
            raise ImgturboError(
                f"{where}: 'data.hide_pairs' leaves too few other tiles to keep the two of a pair "
                "apart; give more tiles, or lower 'data.focus'"
            )

    def rows(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of z and of x of the unpaired samples of these numbers."""
        z, x = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        blocks, within = np.divmod(numbers, _BLOCK)
        for block in np.unique(blocks):
            here = blocks == block
            all_of_it = np.arange(_BLOCK) + block * _BLOCK
            sources = self._sources.rows(all_of_it)
            targets = self._part(sources, self._targets.rows(all_of_it))
            z[here], x[here] = sources[within[here]], targets[within[here]]
        return z, x

    def _part(self, z: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same x, in an order in which no hidden row stands beside itself."""
        for first in np.flatnonzero((z == x) & self._hidden[z]):
            if z[first] == x[first]:  # else an exchange with an earlier one has parted them
                others = np.flatnonzero((x != z[first]) & (z != x[first]))
                second = others[np.searchsorted(others, first) % len(others)]
                x[[first, second]] = x[[second, first]]
        return x
