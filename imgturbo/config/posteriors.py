"""Networks of p(x|z) on tables of numbers, and what summarises their observations z."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from imgturbo.config.networks import DEEPEST, MOST_BLOCKS, WIDEST, Width
from imgturbo.config.section import NetworkConfig, Section

__all__ = [
    "AugmentedINNConfig",
    "AugmentedTermsConfig",
    "BottleneckTermsConfig",
    "CouplingsConfig",
    "DeepSetConfig",
    "DenseFlowConfig",
    "DenseSummaryConfig",
    "FlowMatchingConfig",
    "MixtureDensityConfig",
    "MixtureINNConfig",
    "PosteriorConfig",
    "SeriesConfig",
    "SetTransformerConfig",
    "SummaryConfig",
    "ZukoConfig",
]

MOST_STEPS = 1 << 16
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


# ------------------------------------------------------------------------------- summaries


class SummarySection(Section):
    """Base of every network that makes features of a row of observations."""

    features: int = Field(64, ge=1, le=WIDEST)
    """Numbers that it makes of a row."""
    reach: float | None = Field(5.0, gt=0)
    """Bound of what is seen of an observation, in stretched values: one far beyond the training's
    is answered as the farthest that can be told apart, and not by numbers without bound. None: no
    bound."""


class DenseSummaryConfig(SummarySection):
    """Dense layers on the row as it is."""

    kind: Literal["dense"] = "dense"
    """Which kind of summary: of a row of numbers."""
    hidden: list[Width] = Field([128, 128], max_length=MOST_BLOCKS)
    """Numbers in each hidden layer."""


class ElementsSection(SummarySection):
    """Base of summaries of rows that hold a set or a series: N elements of some numbers each."""

    channels: int = Field(1, ge=1, le=WIDEST)
    """Numbers of an element: a row of N · channels columns holds N elements."""
    order: Literal["elements", "channels"] = "elements"
    """How columns are ordered: the numbers of an element side by side (elements), or all elements'
    first numbers, then all second ones (channels)."""


class DeepSetConfig(ElementsSection):
    """A set: each element by itself through dense layers, their mean and largest values, more."""

    kind: Literal["deep_set"] = "deep_set"
    """Which kind of summary: of a set, whose order does not matter."""
    hidden: list[Width] = Field([64, 64], min_length=1, max_length=MOST_BLOCKS)
    """Numbers in each hidden layer, before and again behind the pooling."""


class SetTransformerConfig(ElementsSection):
    """A set: its elements attend to each other, then one learnt seed attends to all."""

    kind: Literal["set_transformer"] = "set_transformer"
    """Which kind of summary: of a set, whose order does not matter."""
    width: int = Field(64, ge=1, le=WIDEST)
    """Numbers of an element inside; a multiple of heads."""
    heads: int = Field(4, ge=1, le=WIDEST)
    """Ways in which elements attend to each other."""
    blocks: int = Field(2, ge=1, le=MOST_BLOCKS)
    """Blocks of attention among the elements."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> SetTransformerConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of the {self.heads} heads")
        return self


class SeriesConfig(ElementsSection):
    """A series: convolutions of several lengths that look back in time, then an LSTM."""

    kind: Literal["series"] = "series"
    """Which kind of summary: of a series, whose elements follow each other in time."""
    width: int = Field(64, ge=2, le=WIDEST)
    """Numbers of a time inside, and of the LSTM's state."""
    layers: int = Field(3, ge=1, le=DEEPEST)
    """Layers of convolutions."""
    kernels: list[Annotated[int, Field(ge=1, le=64)]] = Field(
        [2, 3, 4, 5, 6, 7], min_length=1, max_length=DEEPEST
    )
    """Lengths of the convolutions of a layer, side by side."""
    apart: bool = False
    """Give every channel convolutions and an LSTM of its own, as published."""


SummaryConfig = Annotated[
    DenseSummaryConfig | DeepSetConfig | SetTransformerConfig | SeriesConfig,
    Field(discriminator="kind"),
]


# ------------------------------------------------------------------------------- networks


class CouplingsConfig(NetworkConfig):
    """Base of networks that are chains of dense couplings."""

    reads_rows: ClassVar[bool] = True

    blocks: int = Field(8, ge=1, le=MOST_BLOCKS)
    """Couplings, each followed by a mixing of the columns."""
    layers: int = Field(2, ge=1, le=DEEPEST)
    """Hidden layers of the couplings' networks."""
    width: int = Field(128, ge=1, le=WIDEST)
    """Numbers in a hidden layer."""
    law: Literal["affine", "additive", "gin", "spline"] = "affine"
    """What a coupling does to a number: scale and shift, shift alone, a scaling that preserves
    volume (gin), or a monotone rational-quadratic spline."""
    bins: int = Field(8, ge=2, le=256)
    """Bins of the spline."""
    bound: float = Field(4.0, gt=0)
    """Stretched values between which the spline bends; beyond them it leaves numbers alone."""
    clamp: float = Field(1.5, gt=0)
    """α, the largest |log scale| of one coupling."""
    reach: float | None = Field(3.0, gt=0)
    """Bound of what the couplings' networks see of x, in stretched values, without which deep flows
    lose digits far from the data; None: no bound."""
    mixing: Literal["orthogonal", "lu", "permutation"] = "orthogonal"
    """How columns are mixed between couplings: a fixed random rotation, a learnt matrix (lu), or a
    fixed random permutation."""
    actnorm: bool = False
    """Put a learnt scale and shift of every column before each coupling."""


class DenseFlowConfig(CouplingsConfig):
    """A conditional flow of rows of numbers, trained by maximum likelihood."""

    kind: Literal["flow"] = "flow"
    """Which kind of network this is; it decides which other keys there are."""
    injector: bool = True
    """Begin with a map of all columns that the condition alone predicts. With a single column,
    which no coupling can split, all blocks are such."""
    condition: SummaryConfig = DenseSummaryConfig()
    """The network that makes features of the source for the couplings."""


class MixtureDensityConfig(NetworkConfig):
    """A mixture of normal distributions whose parameters a network predicts, by likelihood."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["mdn"] = "mdn"
    """Which kind of network this is; it decides which other keys there are."""
    components: int = Field(16, ge=1, le=4096)
    """Normal distributions in the mixture, each with a full covariance."""
    hidden: list[Width] = Field([256, 256], max_length=MOST_BLOCKS)
    """Numbers in each hidden layer behind the summary."""
    clamp: float = Field(6.0, gt=0)
    """Largest |log| of a diagonal element of the precision's root, in stretched values: widths lie
    between e^−clamp and e^clamp."""
    condition: SummaryConfig = DenseSummaryConfig()
    """The network that makes features of the source."""


class FlowMatchingConfig(NetworkConfig):
    """A velocity field that carries noise to data along straight lines, trained by regression."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["flow_matching"] = "flow_matching"
    """Which kind of network this is; it decides which other keys there are."""
    width: int = Field(256, ge=1, le=WIDEST)
    """Numbers in a hidden layer of the velocity's network."""
    blocks: int = Field(4, ge=1, le=MOST_BLOCKS)
    """Residual blocks of two layers each."""
    frequencies: int = Field(8, ge=0, le=1024)
    """Sines and cosines by which the network sees the time, besides the time itself."""
    steps: int = Field(16, ge=1, le=MOST_STEPS)
    """Midpoint steps of a draw, of two network passes each."""
    time_power: float = Field(0.0, gt=-1)
    """α: training draws times t, 0 of noise and 1 of data, with a density ∝ t^α."""
    condition: SummaryConfig = DenseSummaryConfig()
    """The network that makes features of the source."""


class AugmentedINNConfig(CouplingsConfig):
    """An invertible network x ↔ (y, w): the source y is what it predicts, w is normal noise."""

    kind: Literal["augmented_inn"] = "augmented_inn"
    """Which kind of network this is; it decides which other keys there are."""
    latent: int | None = Field(None, ge=1, le=WIDEST)
    """Numbers of w; None: as many as the target has more than the source, but one at least."""
    total: int | None = Field(None, ge=2, le=WIDEST)
    """Numbers on either side, those missing being padding; None: no more padding than is needed."""


class AugmentedTermsConfig(Section):
    """Weights and noises of what trains an augmented_inn."""

    prediction: Weight = 1.0
    """Of the squared error of the predicted source, and of the padding beside it."""
    latent: Weight = 50.0
    """Of the MMD between (w, y) as found and independent ones: w normal, whatever the source."""
    posterior: Weight = 500.0
    """Of the MMD between the target and what the inverse makes of the source and normal w."""
    reconstruction: Weight = 1.0
    """Of the squared error of the target that comes back from noisy (y, w)."""
    source_noise: Weight = 0.05
    """Standard deviation of the noise added to the source, in stretched values."""
    latent_noise: Weight = 0.02
    """Of the noise added to w before it is brought back."""
    padding_noise: Weight = 0.01
    """Of what stands in the padding."""
    scales: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        [0.2, 0.5, 1.5], min_length=1
    )
    """Lengths of the kernels of both MMD: root mean squares over a row's numbers."""


class BottleneckTermsConfig(Section):
    """What trains a mixture_inn to tell its classes, besides to draw them."""

    beta: Weight = 1.0
    """β: 0 learns the targets alone, a large one to tell the classes."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread over all classes."""


class MixtureINNConfig(CouplingsConfig):
    """An invertible network x ↔ w, where w is normal around a centre that the source decides."""

    kind: Literal["mixture_inn"] = "mixture_inn"
    """Which kind of network this is; it decides which other keys there are."""
    labels: bool = False
    """The source's columns say to which class a row belongs, by the largest of them: each class has
    a centre. Otherwise a small network makes the centre of the source's numbers."""
    spread: float = Field(5.0, ge=0)
    """Standard deviation of the classes' first centres."""
    condition: SummaryConfig = DenseSummaryConfig()
    """The network that makes a centre, where there are no labels."""


class ZukoConfig(NetworkConfig):
    """A flow of the package zuko, trained by maximum likelihood."""

    reads_rows: ClassVar[bool] = True

    kind: Literal["zuko"] = "zuko"
    """Which kind of network this is; it decides which other keys there are."""
    family: Literal["maf", "nsf", "sospf", "bpf", "gf", "naf", "unaf", "nice"] = "maf"
    """Which flow: masked autoregressive with affine maps (maf), splines (nsf), sums of squares of
    polynomials (sospf), Bernstein polynomials (bpf), Gaussianisation (gf), neural (naf) or
    unconstrained neural (unaf) monotone maps, or additive couplings (nice)."""
    transforms: int = Field(5, ge=1, le=MOST_BLOCKS)
    """Transforms in a row."""
    hidden: list[Annotated[int, Field(ge=1, le=4096)]] = Field(
        [128, 128], min_length=1, max_length=MOST_BLOCKS
    )
    """Numbers in each hidden layer of their networks."""
    condition: SummaryConfig = DenseSummaryConfig()
    """The network that makes features of the source for the transforms."""


PosteriorConfig = (
    DenseFlowConfig
    | MixtureDensityConfig
    | FlowMatchingConfig
    | AugmentedINNConfig
    | MixtureINNConfig
    | ZukoConfig
)
