"""A user's own few pairs on top of a trained bundle: prepare → train → compare → bundle.

    θ₀   the bundle's weights, which are scored on held-out sky like all that follow
    θ_t  trained on the user's pairs at a low rate, scored every few steps
    θ*   the best of θ₀, θ₁, … by that score: it cannot be worse than θ₀ there

See :func:`imgturbo.finetuning.run.finetune`.
"""

from __future__ import annotations

from imgturbo.finetuning.run import FineTuned, finetune

__all__ = ["FineTuned", "finetune"]
