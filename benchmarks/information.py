r"""Mutual information that TURBO and the bottleneck reach, where it is known: one plot.

    python -m benchmarks.information [--out docs/information.png]

z ~ N(0, 1) has two numbers, x = A z + σ ε four, A with orthonormal columns, so that

    I(X; Z) = log(1 + 1/σ²)   nats

and the posterior p(z | x) is a normal distribution with a diagonal covariance, which linear
networks with a Gaussian head can be. For each of several σ the objective trains

* TURBO (max–max) on pairs: L(z̃) and L(x̃) are −log q_φ(z | x) and −log p_θ(x | z), in nats
  (``distance: gaussian``). On held-out pairs they bound I from below, as does telling pairs apart;
* with ``--eight``, TURBO with all eight terms: L(x̂) and L(ẑ) with a tenth of that weight, as in
  the preset, and D (``sliced``) of each output with the same;
* β-VAEs (min–max) on x alone, p(x | z) of the true noise. Their rate E KL(q(z | x) ‖ p(z)) bounds
  I_φ(X; Z̃) from above, that of x and *its own code*. For linear networks its value at the optimum
  is known: max(0, I − log β), those directions being left out that carry less than β times the
  noise (Lucas et al. 2019, arXiv:1911.02469, for β = 1).
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from imgturbo.bundle import Bundle, load_bundle
from imgturbo.config import Config
from imgturbo.data import SimulatorSource
from imgturbo.files import write_json
from imgturbo.metrics.information import (
    contrastive_bound,
    entropy_of_normal,
    information_of_normal,
    lower_bound,
)
from imgturbo.nets import FreshNoise, GaussianHead, Posterior
from imgturbo.simulators import Linear
from imgturbo.training import train

NATS = (1.0, 2.0, 3.0)
BETAS = (1.0, 4.0)
HELD_OUT = 2048
COLUMNS = np.array([[1, 1], [1, -1], [1, 1], [1, -1]]) / 2


class Joint(Linear):
    """A Gaussian pair of so many nats; z is a code."""

    def __init__(self, nats: float) -> None:
        noise = 1 / math.sqrt(math.expm1(nats))
        super().__init__(
            matrix=COLUMNS.tolist(), mean=[0, 0], covariance=np.eye(2).tolist(), noise=noise
        )
        self.parameters = replace(self.parameters, kind="latent")

    @property
    def covariances(self) -> tuple[Tensor, Tensor]:
        """Of (x, z) and of x, as networks are given them."""
        scale = np.diag(1 / self.observations.stretch.scale)
        a = scale @ self.matrix
        spread = a @ a.T + self.noise**2 * scale**2
        both = np.block([[spread, a], [a.T, np.eye(2)]])
        return torch.from_numpy(both), torch.from_numpy(spread)


@dataclass(frozen=True)
class Job:
    """One training: what it is called, its objective, and whether it sees pairs."""

    name: str
    objective: dict[str, object]
    paired: bool


def jobs(noise: float, eight: bool) -> list[Job]:
    """Those of one σ, in the units in which x has unit spread."""
    exact = {output: {"gaussian": 1} for output in ("z_tilde", "x_tilde", "x_hat", "z_hat")}
    shape = {"preset": "custom", "reduction": "sum"}
    tildes = {"z_tilde": 1.0, "x_tilde": 1.0}
    hats = tildes | {"x_hat": 0.1, "z_hat": 0.1}
    marginal = {output: {"sliced": 0.1} for output in hats}
    found = [
        Job(name, {**shape, **ds, "paired": on, "distance": {o: exact[o] for o in on}}, True)
        for name, on, ds in (
            ("two terms", tildes, {}),
            ("eight terms", hats, {"marginal": marginal, "slices": 32}),
        )
        if name == "two terms" or eight
    ]
    likelihood = {"x_hat": 1 / (2 * noise**2)}
    return found + [
        Job(
            f"bottleneck β = {beta:g}",
            {"preset": "vae", "paired": likelihood, "marginal": {"z_tilde": {"kl": beta}}},
            False,
        )
        for beta in BETAS
    ]


def trained(job: Job, joint: Joint, out: Path, steps: int) -> Bundle:
    linear = {"kind": "mlp", "hidden": []}
    head = {**linear, "head": "gaussian"}
    config = Config.model_validate(
        {
            "data": {
                "batch_size": 256,
                "pairing": "paired" if job.paired else "unpaired",
                "source": {"kind": "simulator", "name": "linear", "validation": 64},
            },
            "model": {"decoder": head if job.paired else linear, "encoder": head},
            "objective": job.objective,
            "train": {
                "out": str(out), "steps": steps, "lr": 0.02, "warmup": 20, "ema": 0.98,
                "validate_every": steps, "checkpoint_every": steps,
                "log_every": steps, "trackers": ["jsonl"], "select": "last",
            },
        }
    )  # fmt: skip
    source = SimulatorSource(config.data.source, config.data, config.seed, simulator=joint)
    result = train(config, resume=False, source=source)
    assert result.bundle is not None
    return load_bundle(result.bundle)


@torch.inference_mode()
def reached(job: Job, bundle: Bundle, joint: Joint) -> dict[str, float]:
    """Bounds on held-out draws, in nats."""
    draw = np.random.default_rng(99)
    parameters = joint.prior(draw, HELD_OUT)
    observed = joint.observe(draw, parameters)
    z, x = (
        torch.from_numpy(side.stretch(rows.T).T.astype(np.float32))
        for side, rows in ((joint.parameters, parameters), (joint.observations, observed))
    )
    torch.manual_seed(0)
    encoder, decoder = bundle.encoder, bundle.decoder
    assert isinstance(encoder, GaussianHead)
    assert decoder is not None
    q = encoder.posterior(x)
    if not job.paired:
        draws = q.draw(FreshNoise())
        return {"rate": float(q.kl_to_normal().sum(1).mean()), "own": _own(q, draws)}
    p = decoder.posterior(z)  # type: ignore[operator]
    h_z, h_x = entropy_of_normal(torch.eye(2)), entropy_of_normal(joint.covariances[1])
    return {
        "by z": lower_bound(q.nats(z).sum(1), h_z),
        "by x": lower_bound(p.nats(x).sum(1), h_x),
        "told apart": _own(q, z),
    }


def _own(q: Posterior, codes: Tensor) -> float:
    """By how well it is told of each code whose posterior it was drawn from."""
    rows = [
        -Posterior(mean, log_sigma).nats(codes).sum(1)
        for mean, log_sigma in zip(q.mean[:, None], q.log_sigma[:, None], strict=True)
    ]
    return contrastive_bound(torch.stack(rows))


def plot(out: Path, found: dict[str, dict[float, dict[str, float]]]) -> None:
    """What was reached against what there is."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.5, 4.4), layout="constrained", sharey=True
    )
    line = np.linspace(0.01, NATS[-1] + 0.3, 200)
    for axes, title in ((left, "TURBO, on pairs: max–max"), (right, "bottleneck: min–max")):
        axes.plot(line, line, color="0.7", label="I(X; Z)")
        axes.set(title=title, xlabel="I(X; Z) in nats, closed form")
    left.set_ylabel("nats")
    for name, marker in (("two terms", "o"), ("eight terms", "x")):
        if name not in found:
            continue
        for bound, colour in (("by z", "C0"), ("by x", "C1"), ("told apart", "C2")):
            values = [found[name][nats][bound] for nats in NATS]
            left.plot(
                NATS, values, marker, color=colour, fillstyle="none", label=f"{name}: {bound}"
            )
    for beta, colour in zip(BETAS, ("C3", "C4"), strict=True):
        runs = found[f"bottleneck β = {beta:g}"]
        right.plot(line, np.maximum(0, line - math.log(beta)), ":", color=colour)
        for bound, marker, what in (("rate", "v", "rate, ≥ I"), ("own", "^", "told apart, ≤ I")):
            values = [runs[nats][bound] for nats in NATS]
            right.plot(
                NATS, values, marker, color=colour, fillstyle="none", label=f"β = {beta:g}: {what}"
            )
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=130)


def main() -> None:
    """Train, print the table and draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/information.png"))
    parser.add_argument("--eight", action="store_true", help="TURBO with all eight terms too")
    parser.add_argument("--steps", type=int, default=800)
    words = parser.parse_args()
    started = time.monotonic()
    found: dict[str, dict[float, dict[str, float]]] = {}
    with TemporaryDirectory() as folder:
        for nats in NATS:
            joint = Joint(nats)
            truth = information_of_normal(joint.covariances[0], 4)
            assert math.isclose(truth, nats, rel_tol=1e-6)
            noise = joint.noise / float(joint.observations.stretch.scale[0])
            for job in jobs(noise, words.eight):
                bundle = trained(job, joint, Path(folder) / "run", words.steps)
                found.setdefault(job.name, {})[nats] = reached(job, bundle, joint)
    for name, runs in found.items():
        for nats, bounds in runs.items():
            shown = "  ".join(f"{bound} {value:.3f}" for bound, value in bounds.items())
            print(f"{name:20} I = {nats:.1f}  {shown}")
    print(f"{words.steps} steps each, seed 0, {time.monotonic() - started:.0f} s")
    plot(words.out, found)
    write_json(words.out.with_suffix(".json"), found)


if __name__ == "__main__":
    main()
