r"""Warm-up and cosine as pure functions of the step t, so a resumed run needs no scheduler.

    η(t)/η₀ = (t + 1)/w                                          for t < w
    η(t)/η₀ = ρ + (1 − ρ) · ½ (1 + cos(π (t − w)/(T − w)))       for w ≤ t ≤ T

w: warm-up steps, T: all steps, ρ: the fraction of the rate where the cosine ends (Loshchilov &
Hutter 2017, arXiv:1608.03983, without restarts).
"""

from __future__ import annotations

import math

__all__ = ["learning_rate_factor"]


def learning_rate_factor(step: int, steps: int, warmup: int, final: float) -> float:
    """η(t)/η₀ in (0, 1] at step t = ``step``, counted from 0.

    Args:
        step: updates made so far; at or beyond ``steps`` the factor stays at ``final``.
        steps: T, updates of the whole run.
        warmup: w; 0 starts at the full rate.
        final: ρ.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
