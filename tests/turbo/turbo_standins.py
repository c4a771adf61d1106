"""Small networks and batches for the tests of the objective, convolutional and dense."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from imgturbo.data.batch import Batch
from imgturbo.nets import Answer, Posterior
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.terms import SPACE, Terms

KINDS = ("conv", "dense")
OTHER = {"z": "x", "x": "z"}


class Generator(nn.Module):
    def __init__(self, kind: str, channels_in: int, channels_out: int, stochastic: bool = False):
        super().__init__()
        self.stochastic = stochastic
        self.calls = 0
        if kind == "conv":
            first, last = nn.Conv2d(channels_in, 5, 3, padding=1), nn.Conv2d(5, channels_out, 1)
        else:
            first, last = nn.Linear(channels_in, 5), nn.Linear(5, channels_out)
        self.net = nn.Sequential(first, nn.Tanh(), last)

    def forward(self, u, noise=None):
        assert (noise is not None) == self.stochastic
        self.calls += 1
        return self.net(u + 0.1 * noise(0, u.shape, 1, u) if self.stochastic else u)


class Critic(nn.Module):
    """Score maps at one or two scales; a condition is concatenated."""

    def __init__(self, kind: str, channels: int, scales: int = 1, spectral: bool = False):
        super().__init__()

        def layer(c_in, c_out):
            made = nn.Conv2d(c_in, c_out, 3, 2, 1) if kind == "conv" else nn.Linear(c_in, c_out)
            return spectral_norm(made) if spectral else made

        self.heads = nn.ModuleList(
            nn.Sequential(layer(channels, 4), nn.Softplus(), layer(4, 1)) for _ in range(scales)
        )
        self.seen: list[torch.Tensor] = []

    def forward(self, u, condition=None, features=False):
        self.seen.append(u.detach())
        u = u if condition is None else torch.cat([u, condition], 1)
        return [
            (head[:-1] if features else head)(u if i == 0 or u.ndim == 2 else u[..., ::2])
            for i, head in enumerate(self.heads)
        ]


class Headed(Generator):
    """A Gaussian head on the stand-in: μ and log σ side by side."""

    tells = frozenset({"posterior"})

    def __init__(self, kind: str, channels_in: int, channels_out: int):
        super().__init__(kind, channels_in, 2 * channels_out)
        self.stochastic = True

    def posterior(self, u):
        self.calls += 1
        return Posterior(*self.net(u).chunk(2, 1))

    def answer(self, u, noise=None):
        posterior = self.posterior(u)
        return Answer(posterior.draw(noise), posterior)


def make_batch(kind="conv", n=4, c=2, c2=3, seed=0, size=(9, 7), full=False, pairs=None):
    generator = torch.Generator().manual_seed(seed)
    tail = size if kind == "conv" else ()
    z = torch.randn(n, c, *tail, generator=generator)
    x = torch.randn(n, c2, *tail, generator=generator)
    masks = torch.rand(2, n, 1, *tail, generator=generator) < (2 if full else 0.7)
    paired = torch.rand(n, generator=generator) < 0.6 if pairs is None else torch.tensor(pairs)
    rows = torch.arange(n)
    return Batch(z, x, masks[0], masks[1], paired, rows, rows)


def to_double(batch: Batch) -> Batch:
    return replace(batch, z=batch.z.double(), x=batch.x.double())


def make_objective(
    terms: Terms,
    kind="conv",
    c=2,
    c2=3,
    seed=0,
    scales=1,
    spectral=False,
    stochastic=False,
    noise=None,
    headed=(),
) -> Objective:
    torch.manual_seed(seed)
    channels = {"z": c, "x": c2}

    def network(name, before, after):
        if name in headed:
            return Headed(kind, before, after)
        return Generator(kind, before, after, stochastic)

    encoder = network("encoder", c2, c) if terms.needs_encoder else None
    decoder = network("decoder", c, c2) if terms.needs_decoder else None
    critics = {}
    for name, output in terms.critics.items():
        space = SPACE[output]
        extra = channels[OTHER[space]] if terms.is_conditional(output) else 0
        critics[name] = Critic(kind, channels[space] + extra, scales, spectral)
    return Objective(encoder, decoder, critics, terms, noise)
