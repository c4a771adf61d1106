"""A network that draws the closed posterior of the linear simulator, right or spoilt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imgturbo.bundle import Bundle
from imgturbo.config import Config
from imgturbo.nets import Generator
from imgturbo.nets.noise import Noise
from imgturbo.simulators import Linear


class ClosedPosterior(Generator):
    """x ↦ (μ(x) + width · L ε), all stretched; its density is the closed one."""

    has_density = True

    def __init__(self, simulator: Linear, width: float = 1.0) -> None:
        sides = simulator.observations, simulator.parameters
        super().__init__(*map(len, sides), stochastic=True)
        self.simulator, self.width = simulator, width

    def _moments(self, u: Tensor) -> tuple[Tensor, Tensor]:
        observed = self.simulator.observations.stretch.inverse(u.double().numpy().T).T
        mean, covariance = self.simulator.posterior(observed)
        stretch = self.simulator.parameters.stretch
        root = np.linalg.cholesky(covariance) / stretch.scale[:, None]
        return torch.from_numpy(stretch(mean.T).T), torch.from_numpy(root) * self.width

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        mean, root = self._moments(u)
        if noise is None:
            return mean.float()
        return (mean + noise(0, tuple(mean.shape), 1, mean) @ root.T).float()

    def log_density(self, y: Tensor, z: Tensor) -> Tensor:
        mean, root = self._moments(z)
        normal = torch.distributions.MultivariateNormal(mean, scale_tril=root)
        return normal.log_prob(y.double())


def closed_bundle(width: float = 1.0, given: str = "observations", path: str = "closed") -> Bundle:
    """A bundle whose decoder is the closed posterior, as if it had been trained."""
    simulator = Linear()
    source = {"kind": "simulator", "name": "linear", "given": given}
    config = Config.model_validate({"data": {"source": source}})
    network = ClosedPosterior(simulator, width)
    forward = given == "observations"
    sides = (simulator.observations, simulator.parameters)
    return Bundle(
        path=Path(path),
        decoder=network if forward else None,
        encoder=None if forward else network,
        source=sides[0] if forward else sides[1],
        target=sides[1] if forward else sides[0],
        config=config,
        record={},
        hash="0" * 12,
    )
