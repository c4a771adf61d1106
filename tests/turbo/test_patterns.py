"""All 2⁸ patterns of terms: what each of them computes, and whom it trains."""

from __future__ import annotations

import itertools

import pytest
import torch
from turbo_standins import make_batch, make_objective

from imgturbo.turbo.terms import OUTPUTS, Terms

PATTERNS = [p for p in itertools.product((0.0, 1.0), repeat=8) if any(p)]


def reached(gradients, module):
    return any(
        g is not None and (g != 0).any() for n, g in gradients.items() if n.startswith(module)
    )


@pytest.mark.parametrize("divergence", ["critic", "mmd", "sliced"])
def test_every_pattern_computes_what_it_needs_and_trains_whom_it_should(divergence):
    batch = make_batch("dense", n=5, full=True, pairs=[True] * 5)
    for pattern in PATTERNS:
        paired = dict(zip(OUTPUTS, pattern[:4], strict=True))
        marginal = {o: {divergence: w} for o, w in zip(OUTPUTS, pattern[4:], strict=True)}
        objective = make_objective(Terms(paired=paired, marginal=marginal), "dense")
        losses = objective(batch)
        on = {o for o in OUTPUTS if paired[o] or marginal[o][divergence]}
        judged = {o for o in OUTPUTS if marginal[o][divergence]}

        calls = {"encoder": bool(on & {"z_tilde", "x_hat"}) + ("z_hat" in on)}
        calls["decoder"] = bool(on & {"x_tilde", "z_hat"}) + ("x_hat" in on)
        for name, number in calls.items():
            network = getattr(objective, name)
            assert (network.calls if network else 0) == number, (pattern, name)
        critics = judged if divergence == "critic" else set()
        assert set(objective.critics) == critics
        # Once for the generators, once for itself.
        assert all(len(critic.seen) == 2 for critic in objective.critics.values())

        names, parameters = zip(*objective.named_parameters(), strict=True)
        for loss, trained in (
            (losses.generator, {name for name, number in calls.items() if number}),
            (losses.critic, {f"critics.{name}" for name in critics}),
        ):
            found = dict.fromkeys(names)
            if loss.requires_grad:
                all_of = torch.autograd.grad(loss, parameters, allow_unused=True)
                found = dict(zip(names, all_of, strict=True))
            modules = {"encoder", "decoder"} | {f"critics.{name}" for name in critics}
            assert {m for m in modules if reached(found, m)} == trained, pattern
