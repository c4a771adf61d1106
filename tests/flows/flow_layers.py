"""Networks and one of every layer, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor

from imgturbo.flows import (
    ActNorm,
    Additive,
    Affine,
    Chain,
    Clamp,
    ConvPredictor,
    Coupling,
    DensePredictor,
    Flatten,
    HaarDownsampling,
    HaarUpsampling,
    Injector,
    LUMixing,
    OrthogonalMixing,
    Permutation,
    PixelUnshuffle,
    RationalQuadratic,
    VolumePreserving,
)


def conv(condition=0, kernels=(3, 1)):
    def make(inputs, outputs):
        return ConvPredictor(
            inputs, outputs, width=5, condition_channels=condition, kernels=kernels
        )

    return make


def dense(condition=0):
    return lambda i, o: DensePredictor(i, o, width=6, condition_channels=condition)


LAWS = {
    "affine": Affine(),
    "affine-unscaled": Affine(Clamp(1.5, scaled=False)),
    "affine-tanh": Affine(Clamp(1.0, shape="tanh")),
    "nice": Additive(),
    "gin": VolumePreserving(),
    "spline": RationalQuadratic(bins=4, bound=2.0),
}

# name: (layer, shape of x, shape of the condition)
LAYERS = {
    **{
        f"{name}-{sides}-{channels}": (
            lambda law=law, sides=sides, channels=channels: Coupling(
                channels, conv(2), law, sides=sides
            ),
            (channels, 2, 3),
            (2, 2, 3),
        )
        for name, law in LAWS.items()
        for sides, channels in [(1, 3), (2, 2), (2, 5)]
    },
    "dense": (lambda: Coupling(7, dense(3)), (7,), (3,)),
    "dense-spline": (lambda: Coupling(5, dense(), RationalQuadratic(), sides=1), (5,), None),
    "haar": (lambda: HaarDownsampling("band", 0.5), (3, 4, 2), None),
    "haar-channel": (lambda: HaarDownsampling("channel", 2.0), (1, 2, 6), None),
    "haar-up": (lambda: HaarUpsampling("band", 0.7), (8, 1, 2), None),
    "haar-up-channel": (HaarUpsampling, (4, 3, 2), None),
    "unshuffle": (PixelUnshuffle, (3, 2, 4), None),
    "unshuffle-band": (lambda: PixelUnshuffle("band"), (3, 2, 4), None),
    "injector": (lambda: Injector(3, 2, 4), (3, 2, 3), (2, 2, 3)),
    "injector-spline": (lambda: Injector(1, 2, 4, LAWS["spline"]), (1, 2, 3), (2, 2, 3)),
    "injector-table": (lambda: Injector(3, 2, 4, rows=True), (3,), (2,)),
    "injector-table-spline": (lambda: Injector(1, 2, 4, LAWS["spline"], rows=True), (1,), (2,)),
    "actnorm": (lambda: ActNorm(3), (3, 2, 3), None),
    "actnorm-table": (lambda: ActNorm(5), (5,), None),
    "orthogonal": (lambda: OrthogonalMixing(5, seed=3), (5, 2, 2), None),
    "orthogonal-table": (lambda: OrthogonalMixing(7), (7,), None),
    "lu": (lambda: LUMixing(5), (5, 2, 2), None),
    "lu-table": (lambda: LUMixing(6, seed=1), (6,), None),
    "permutation": (lambda: Permutation(7, seed=2), (7, 1, 2), None),
    "permutation-given": (lambda: Permutation([2, 0, 1]), (3,), None),
    "flatten": (lambda: Flatten((3, 2, 2)), (3, 2, 2), None),
    "chain": (
        lambda: Chain(
            OrthogonalMixing(3),
            Coupling(3, conv()),
            HaarDownsampling(rebalance=0.5),
            LUMixing(12),
            Coupling(12, conv(), LAWS["spline"]),
            Flatten((12, 1, 2)),
            Coupling(24, dense()),
        ),
        (3, 2, 4),
        None,
    ),
}


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)
