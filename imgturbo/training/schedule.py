r"""The learning rate as a pure function of the step t, so a resumed run needs no scheduler.

    η(t)/η₀ = (t + 1)/w                                          for t < w
    η(t)/η₀ = ρ + (1 − ρ) s((t − w)/(T − w))                     for w ≤ t ≤ T

    cosine    s(p) = ½ (1 + cos πp)
    linear    s(p) = min(1, 2 (1 − p))

w: warm-up steps, T: all steps, ρ: the fraction of the rate where the schedule ends. The cosine is
that of Loshchilov & Hutter 2017 (arXiv:1608.03983), without restarts. The linear one, constant for
the first half, is that of CycleGAN (Zhu et al. 2017, arXiv:1703.10593, section 4), by steps instead
of epochs.
"""

from __future__ import annotations

import math

__all__ = ["learning_rate_factor"]


def learning_rate_factor(
    step: int, steps: int, warmup: int, final: float, schedule: str = "cosine"
) -> float:
    """η(t)/η₀ in [0, 1] at step t = ``step``, counted from 0.

    Args:
        step: updates made so far; at or beyond ``steps`` the factor stays at ``final``.
        steps: T, updates of the whole run.
        warmup: w; 0 starts at the full rate.
        final: ρ.
        schedule: ``"cosine"`` or ``"linear"``.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    if schedule == "linear":
        shape = min(1.0, 2 * (1 - progress))
    else:
        shape = 0.5 * (1 + math.cos(math.pi * progress))
    return final + (1 - final) * shape
