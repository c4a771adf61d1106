r"""Summaries: features c = s(z) of a row of observations, trained together with what reads them.

    bounded          u = z / √(1 + (z/r)²)
    dense            c = W_n φ(… φ(W_1 u + b_1) …) + b_n
    deep set         c = ρ( mean_i h(u_i), max_i h(u_i) ),      u = {u_1, …, u_N}
    set transformer  h ← h + A(h, h),  h ← h + f(h)  a block;   c = W A(seed, h)
    series           layers of convolutions over the past, an LSTM, its last state → c

A row of N·m columns is read as N elements of m numbers each. A set's summary does not change with
the order of its elements; that of a series sees at time t only what was before it.

The bound r answers observations far outside the training's: all beyond are told apart less and
less, so that the posterior stays that of the farthest ones, and is a number.

Zaheer et al. 2017, *Deep Sets* (arXiv:1703.06114), theorem 2; Lee et al. 2019, *Set Transformer*
(arXiv:1810.00825), equations 6–9 and 12 (norms before the attention, not behind); Radev et al.
2021, *OutbreakFlow* (arXiv:2010.00300): multi-convolution layers, then an LSTM.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config.posteriors import (
    DeepSetConfig,
    DenseSummaryConfig,
    ElementsSection,
    SeriesConfig,
    SetTransformerConfig,
    SummaryConfig,
)
from imgturbo.errors import ImgturboError

__all__ = [
    "DeepSet",
    "Dense",
    "Series",
    "SetTransformer",
    "bounded",
    "build_summary",
    "dense_layers",
]


def bounded(u: Tensor, reach: float | None) -> Tensor:
    """u / √(1 + (u/r)²), between −r and r; u itself where r is None."""
    return u if reach is None else u / torch.hypot(torch.ones_like(u), u / reach)


def build_summary(config: SummaryConfig, columns: int) -> nn.Module:
    """A fresh summary, (B, columns) → (B, features).

    Raises:
        ImgturboError: the columns do not make whole elements.
    """
    match config:
        case DenseSummaryConfig():
            return Dense(config, columns)
        case DeepSetConfig():
            return DeepSet(config, columns)
        case SetTransformerConfig():
            return SetTransformer(config, columns)
        case SeriesConfig():
            return Series(config, columns)


def dense_layers(sizes: Sequence[int]) -> nn.Sequential:
    """Dense layers with SiLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class Dense(nn.Module):
    """Dense layers on the row as it is."""

    def __init__(self, config: DenseSummaryConfig, columns: int) -> None:
        super().__init__()
        self.reach = config.reach
        self.layers = dense_layers([columns, *config.hidden, config.features])

    def forward(self, u: Tensor) -> Tensor:
        """(B, columns) → (B, features)."""
        return self.layers(bounded(u, self.reach))  # type: ignore[no-any-return]


class _Elements(nn.Module):
    """Reads a row as elements."""

    def __init__(self, config: ElementsSection, columns: int) -> None:
        super().__init__()
        self.reach, self.channels = config.reach, config.channels
        self.by_element = config.order == "elements"
        if columns % config.channels:
            raise ImgturboError(
                f"model.decoder.condition.channels: {columns} columns are no whole number of "
                f"elements of {config.channels} numbers"
            )

    def elements(self, u: Tensor) -> Tensor:
        """(B, N · m) → (B, N, m), bounded."""
        u = bounded(u, self.reach)
        if self.by_element:
            return u.unflatten(1, (-1, self.channels))
        return u.unflatten(1, (self.channels, -1)).transpose(1, 2)


class DeepSet(_Elements):
    """Elements by themselves, pooled by their mean and their largest values."""

    def __init__(self, config: DeepSetConfig, columns: int) -> None:
        super().__init__(config, columns)
        self.inner = dense_layers([config.channels, *config.hidden])
        self.outer = dense_layers([2 * config.hidden[-1], *config.hidden, config.features])

    def forward(self, u: Tensor) -> Tensor:
        """(B, columns) → (B, features), the same in whatever order the elements stand."""
        h = F.silu(self.inner(self.elements(u)))
        pooled = torch.cat([h.mean(1), h.amax(1)], dim=1)
        return self.outer(pooled)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """h + A(norm h, norm keys), then h + f(norm h)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.inner = dense_layers([width, 2 * width, width])

    def forward(self, h: Tensor, keys: Tensor) -> Tensor:
        """(B, N, width), (B, M, width) → (B, N, width)."""
        read = self.norms[1](keys)
        q, k, v = (
            layer(u).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, u in (
                (self.query, self.norms[0](h)), (self.key, read), (self.value, read)
            )
        )  # fmt: skip
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = h + self.out(found)
        return h + self.inner(self.norms[2](h))  # type: ignore[no-any-return]


class SetTransformer(_Elements):
    """Elements that attend to each other, and one learnt seed that attends to all of them."""

    def __init__(self, config: SetTransformerConfig, columns: int) -> None:
        super().__init__(config, columns)
        self.first = nn.Linear(config.channels, config.width)
        self.blocks = nn.ModuleList(
            _Attention(config.width, config.heads) for _ in range(config.blocks)
        )
        self.seed = nn.Parameter(torch.randn(1, 1, config.width))
        self.pool = _Attention(config.width, config.heads)
        self.last = nn.Linear(config.width, config.features)

    def forward(self, u: Tensor) -> Tensor:
        """(B, columns) → (B, features), the same in whatever order the elements stand."""
        h = self.first(self.elements(u))
        for block in self.blocks:
            h = block(h, h)
        pooled = self.pool(self.seed.expand(len(h), -1, -1), h)
        return self.last(pooled[:, 0])  # type: ignore[no-any-return]


class _MultiConvolution(nn.Module):
    """Convolutions of several lengths that look back, side by side, then one of length 1."""

    def __init__(self, channels: int, width: int, kernels: Sequence[int]) -> None:
        super().__init__()
        each = width // 2
        self.kernels = tuple(kernels)
        self.layers = nn.ModuleList(nn.Conv1d(channels, each, kernel) for kernel in kernels)
        self.join = nn.Conv1d(each * len(kernels), width, 1)

    def forward(self, h: Tensor) -> Tensor:
        """(B, channels, T) → (B, width, T); what is at t depends on times up to t."""
        found = [
            F.relu(layer(F.pad(h, (kernel - 1, 0))))
            for layer, kernel in zip(self.layers, self.kernels, strict=True)
        ]
        return F.relu(self.join(torch.cat(found, dim=1)))


class _Reader(nn.Module):
    """Multi-convolutions and an LSTM over some channels: the LSTM's last state."""

    def __init__(self, config: SeriesConfig, channels: int) -> None:
        super().__init__()
        sizes = [channels, *[config.width] * config.layers]
        self.layers = nn.Sequential(
            *(_MultiConvolution(before, config.width, config.kernels) for before in sizes[:-1])
        )
        self.memory = nn.LSTM(config.width, config.width, batch_first=True)

    def forward(self, series: Tensor) -> Tensor:
        """(B, T, channels) → (B, width)."""
        states, _ = self.memory(self.layers(series.transpose(1, 2)).transpose(1, 2))
        return states[:, -1]  # type: ignore[no-any-return]


class Series(_Elements):
    """A series in time, all channels together or each by a reader of its own."""

    def __init__(self, config: SeriesConfig, columns: int) -> None:
        super().__init__(config, columns)
        count = config.channels if config.apart else 1
        self.readers = nn.ModuleList(
            _Reader(config, config.channels // count) for _ in range(count)
        )
        self.last = nn.Linear(count * config.width, config.features)

    def forward(self, u: Tensor) -> Tensor:
        """(B, columns) → (B, features)."""
        parts = self.elements(u).chunk(len(self.readers), dim=2)
        states = [reader(part) for reader, part in zip(self.readers, parts, strict=True)]
        return self.last(torch.cat(states, dim=1))  # type: ignore[no-any-return]
