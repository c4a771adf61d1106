"""Invertible layers with exact log-determinants, and what they are composed into."""

from imgturbo.flows.actnorm import ActNorm
from imgturbo.flows.chain import Chain
from imgturbo.flows.cinn import MultiScaleCINN
from imgturbo.flows.condition import ColorizationCondition, ConditionPyramid
from imgturbo.flows.coupling import Additive, Affine, Clamp, Coupling, VolumePreserving
from imgturbo.flows.flatten import Flatten
from imgturbo.flows.haar import HaarDownsampling, HaarUpsampling, PixelUnshuffle
from imgturbo.flows.injector import Injector
from imgturbo.flows.mixing import LUMixing, OrthogonalMixing, Permutation
from imgturbo.flows.predictors import ConvPredictor, DensePredictor
from imgturbo.flows.spline import RationalQuadratic
from imgturbo.flows.split import Pyramid, Split
from imgturbo.flows.transform import Transform

__all__ = [
    "ActNorm",
    "Additive",
    "Affine",
    "Chain",
    "Clamp",
    "ColorizationCondition",
    "ConditionPyramid",
    "ConvPredictor",
    "Coupling",
    "DensePredictor",
    "Flatten",
    "HaarDownsampling",
    "HaarUpsampling",
    "Injector",
    "LUMixing",
    "MultiScaleCINN",
    "OrthogonalMixing",
    "Permutation",
    "PixelUnshuffle",
    "Pyramid",
    "RationalQuadratic",
    "Split",
    "Transform",
    "VolumePreserving",
]
