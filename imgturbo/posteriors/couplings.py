r"""Chains of dense couplings, conditional or not.

    injector (perhaps),  blocks × [ActNorm (perhaps), coupling, mixing]

A single column has nothing to be split into. Given a condition, all blocks are injectors then:
z = g(x; θ(c)), the first affine and the others of the config's law, which is a density of one
number as rich as the law (``additive`` and ``gin`` would leave every width as it is, and are
refused). Without a condition a single column is refused.
"""

from __future__ import annotations

from torch import nn

from imgturbo.config.posteriors import CouplingsConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows import ActNorm, Affine, Chain, Clamp, Coupling, DensePredictor, Injector
from imgturbo.flows.coupling import Law
from imgturbo.flows.laws import make_law
from imgturbo.flows.mixing import make_mixing
from imgturbo.flows.transform import Transform

__all__ = ["dense_chain"]

_FREER = 3.0
"""How much wider an injector's clamp is: its scales are of the condition, which no inverse moves"""


def dense_chain(
    config: CouplingsConfig, columns: int, features: int = 0, *, injector: bool = False
) -> Chain:
    """An invertible map of rows (B, columns).

    Args:
        config: of the couplings.
        columns: of x.
        features: of the condition; 0: none.
        injector: whether a map that the condition alone predicts comes first.

    Raises:
        ImgturboError: a single column, with no condition or with a law that cannot widen it.
    """
    law = make_law(config.law, config.clamp, config.bins, config.bound)

    def predictor(inputs: int, outputs: int) -> nn.Module:
        return DensePredictor(
            inputs,
            outputs,
            width=config.width,
            condition_channels=features,
            hidden_layers=config.layers,
            reach=config.reach,
        )

    def block(layer: Transform) -> list[Transform]:
        return [ActNorm(columns), layer] if config.actnorm else [layer]

    def inject(law: Law) -> Injector:
        return Injector(columns, features, config.width, law, rows=True)

    if columns == 1:
        _check_one(config, features)
        laws = [_first_law(config, law), *[law] * (config.blocks - 1)]
        return Chain(*(part for one in laws for part in block(inject(one))))
    layers: list[Transform] = []
    if injector and features:
        layers.append(inject(_first_law(config, law)))
    for number in range(config.blocks):
        layers += block(Coupling(columns, predictor, law))
        layers.append(make_mixing(config.mixing, columns, number + 1))
    return Chain(*layers)


def _first_law(config: CouplingsConfig, law: Law) -> Law:
    """A spline bends between its bounds alone: what comes first brings numbers there."""
    return law if config.law in ("additive", "gin") else Affine(Clamp(_FREER * config.clamp))


def _check_one(config: CouplingsConfig, features: int) -> None:
    if not features:
        raise ImgturboError(
            f"a model.decoder of kind {config.kind} cannot split a single column into two parts; "
            "use kind flow, mdn or flow_matching"
        )
    if config.law in ("additive", "gin"):
        raise ImgturboError(
            f"model.decoder.law {config.law} gives a single column no width of its own; use "
            "affine or spline"
        )
