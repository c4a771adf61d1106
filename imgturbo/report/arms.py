"""Arms in the plane: many answers to where a hand is wanted, drawn over each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgturbo.report.preview import save_figure

__all__ = ["arms_figure"]

_PALE, _HAND = "#1d3557", "#e63946"


def arms_figure(
    out: Path, places: NDArray[np.float64], answers: Sequence[NDArray[np.float64]]
) -> None:
    """Write a PNG: a panel for each place, with the rail, the arms and a cross where it is.

    Args:
        out: the file.
        places: where the hands are wanted, (P, 2).
        answers: for each place arms (n, J, 2): the slider, the joints, the hand.

    Raises:
        ImgturboError: ``out`` cannot be written; what was there before is still there.
    """
    from matplotlib.figure import Figure  # no window, no global state

    figure = Figure(figsize=(4.2 * len(places), 4.4), layout="constrained")
    axes = figure.subplots(1, len(places), sharex=True, sharey=True, squeeze=False)[0]
    for panel, place, arms in zip(axes, places, answers, strict=True):
        panel.axvline(0, color="0.8", linewidth=3)
        for arm in arms:
            panel.plot(*arm.T, color=_PALE, linewidth=0.8, alpha=0.25)
        panel.plot(*arms[:, -1].T, ".", color=_PALE, markersize=2)
        if len(arms):
            panel.plot(*arms[0].T, "o-", color=_PALE, linewidth=1.6, markersize=4)
        panel.plot(*place, "x", color=_HAND, markersize=11, markeredgewidth=2.5)
        panel.set(aspect="equal", xlim=(-0.4, 2.2), ylim=(-2.0, 2.0))
        panel.set_title(f"the hand at {place[0]:g}, {place[1]:g}", fontsize=10)
    figure.suptitle(f"{len(answers[0])} stances of an arm on a rail, drawn from p(stance | hand)")
    save_figure(figure, out)
