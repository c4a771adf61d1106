"""The laws of couplings by the names that configs give them."""

from __future__ import annotations

from typing import Literal

from imgturbo.flows.coupling import Additive, Affine, Clamp, Law, VolumePreserving
from imgturbo.flows.spline import RationalQuadratic

__all__ = ["LawName", "make_law"]

LawName = Literal["affine", "additive", "gin", "spline"]


def make_law(name: LawName, clamp: float, bins: int = 8, bound: float = 4.0) -> Law:
    """g of all the couplings of a flow.

    Args:
        name: of the law.
        clamp: α, the largest |log scale|, or of a spline the largest of its parameters.
        bins, bound: of a spline.
    """
    soft = Clamp(clamp)
    if name == "spline":
        return RationalQuadratic(bins, bound, soft)
    if name == "gin":
        return VolumePreserving(soft)
    return Additive() if name == "additive" else Affine(soft)
