"""Networks of p(x|z) on tables of numbers: draws of parameters x given what was observed, z."""

from imgturbo.posteriors.augmented import AugmentedINN
from imgturbo.posteriors.augmented_terms import AugmentedTerms
from imgturbo.posteriors.bottleneck import Bottleneck
from imgturbo.posteriors.dense_flow import DenseFlow
from imgturbo.posteriors.flow_matching import FlowMatching, Matching
from imgturbo.posteriors.mixture_density import MixtureDensity
from imgturbo.posteriors.mixture_inn import MixtureINN
from imgturbo.posteriors.rows import RowGenerator
from imgturbo.posteriors.summaries import build_summary
from imgturbo.posteriors.zuko_flow import ZukoFlow

__all__ = [
    "AugmentedINN",
    "AugmentedTerms",
    "Bottleneck",
    "DenseFlow",
    "FlowMatching",
    "Matching",
    "MixtureDensity",
    "MixtureINN",
    "RowGenerator",
    "ZukoFlow",
    "build_summary",
]
