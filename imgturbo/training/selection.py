"""By which score the best weights are told: ``train.select``.

A score has the name ``direction/score``, such as ``forward/psnr``. Without its direction it is that
of both maps together where there is one (``both/bits``), else of the forward map, else of the
other; ``last`` asks for no score at all: the newest weights are the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imgturbo.errors import ImgturboError
from imgturbo.losses import DIRECTIONS, Trainable

__all__ = ["Selection"]

_LAST = "last"


@dataclass(frozen=True)
class Selection:
    """A score that tells which of two validations is the better.

    Attributes:
        score: such as ``forward/psnr``; None: the newest is the best.
        higher: whether higher is better.
    """

    score: str | None
    higher: bool = False

    @classmethod
    def named(cls, select: str, objective: Trainable) -> Selection:
        """What ``train.select`` means where ``objective`` is trained.

        Raises:
            ImgturboError: it gives no such score; the line lists those that it gives.
        """
        if select == _LAST:
            return cls(None)
        known = objective.all_scores()
        for name in (select, *(f"{way}/{select}" for way in ("both", *DIRECTIONS))):
            if name in known:
                return cls(name, known[name])
        short = dict.fromkeys(name.split("/")[-1] for name in known)
        names = ", ".join(dict.fromkeys([*short, *known, _LAST]))
        raise ImgturboError(f"train.select: there is no score {select!r} here; choose from {names}")

    def prefers(self, scores: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether ``scores`` are better than the best so far; yes if nothing can be compared."""
        if self.score is None or self.score not in scores or self.score not in best:
            return True
        new, old = scores[self.score], best[self.score]
        return new > old if self.higher else new < old
