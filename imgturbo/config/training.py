"""How tiles become batches, what is minimised, and the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator

from imgturbo.config.posteriors import AugmentedTermsConfig, BottleneckTermsConfig
from imgturbo.config.section import LocalPath, OutPath, Section
from imgturbo.config.sources import SourceConfig
from imgturbo.symmetries import Symmetries

__all__ = [
    "DataConfig",
    "ObjectiveConfig",
    "TrainConfig",
]


Share = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(Section):
    """How tiles become batches."""

    tiles: LocalPath | None = None
    """The tile store that is read; None: prepare.out."""
    source: SourceConfig | None = None
    """Where samples come from if not both sides from tiles: a prior, a simulator, or an operator
    that observes tiles; None: both sides from tiles."""
    batch_size: int = Field(8, ge=1)
    """Tiles a process and step."""
    crop: int | None = Field(None, ge=8)
    """Side in pixels of the squares that training cuts out of tiles; None: whole tiles."""
    augment: Symmetries = "d4"
    """Symmetries that training moves tiles by at random: left and right (mirror), up and down too
    (flips), quarter turns too (d4), or none."""
    pairing: Literal["auto", "paired", "unpaired"] = "auto"
    """Whether batches hold pairs, or independent sources and targets; auto: as many pairs as lets
    every tile be seen once."""
    paired_fraction: float | None = Field(None, ge=0, le=1)
    """Share of each batch that is pairs, in a store with tiles of both sorts; None: as 'pairing'
    says."""
    hide_pairs: float = Field(0.0, ge=0, le=1)
    """Share of the training pairs that are treated as two single tiles, to study what pairs are
    worth: a choice of the seed, of which what is known at 0.95 is known at 0.75 too. 0: none."""
    focus: float = Field(0.0, ge=0, le=1e6)
    """Of focus + 1 samples so many are drawn by how much detail their tiles show; 0: all tiles
    alike."""
    workers: int = Field(0, ge=0)
    """Threads that read the next batches ahead; 0: none."""


Output = Literal["z_tilde", "x_hat", "x_tilde", "z_hat"]
"""The four outputs of TURBO: direct path x → z̃ → x̂, reverse path z → x̃ → ẑ."""


Distance = Literal[
    "l1", "l2", "charbonnier", "flux", "shifted", "texture", "lpips", "fourier", "spectrum",
    "features", "gaussian",
]  # fmt: skip
DistanceMix = dict[Distance, float]

MarginalTerm = Annotated[
    Annotated[float, Tag("one_weight")] | Annotated[dict[str, float], Tag("mix")],
    Discriminator(lambda term: "mix" if isinstance(term, dict) else "one_weight"),
]
"""A mix of divergences, such as {critic: 1, mmd: 10}; a bare number is the weight of a critic."""

Reduction = Literal["mean", "sum"]


class ObjectiveConfig(Section):
    """Eight free terms: ``paired`` are the L terms, ``marginal`` the D terms.

    A weight left out takes the preset's; the preset ``custom`` sets all of them to zero. The preset
    ``likelihood`` is that of decoders with a density (cinn, flow, mdn, …), which has no weights but
    ``noise``, and other kinds have presets of their own, such as ``diffusion``. Which there are is
    for :mod:`imgturbo.engines` to say.
    """

    model_config = ConfigDict(allow_inf_nan=True)  # weights are checked together, by their terms

    preset: str | None = None
    """The paper whose weights are the defaults; 'imgturbo presets' lists them (turbo, pix2pix,
    cyclegan, vae, …), custom has all at zero; or the one that goes with the decoder's kind
    (likelihood, diffusion, matching, augmented, bottleneck, flow); None: that one, else turbo."""
    noise: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Likelihood: σ of the Gaussian noise added to the stretched target in training."""
    augmented: AugmentedTermsConfig = AugmentedTermsConfig()
    """Terms of the preset augmented, of a decoder of kind augmented_inn."""
    bottleneck: BottleneckTermsConfig = BottleneckTermsConfig()
    """The preset bottleneck, of a decoder of kind mixture_inn with labels."""
    paired: dict[Output, float] = {}
    """Weights of the paired terms L: how far each output is from the truth."""
    marginal: dict[Output, MarginalTerm] = {}
    """Weights of the marginal terms D: how far each output's distribution is from that of real
    data. A number is the critic's weight; {critic: 1, mmd: 10} weighs several divergences: critic,
    mmd, sliced (sliced Wasserstein), kl (of a Gaussian head from a prior), likelihood (of an
    invertible network)."""
    identity: dict[Literal["x", "z"], float] = {}
    """Weights of ‖decoder(x) − x‖ (x) and ‖encoder(z) − z‖ (z): what is of its space already shall
    stay."""
    distance: dict[Output, DistanceMix] = {}
    """The distances in L for each output, and their weights; what is left out is the preset's, else
    {l1: 1}. features are those of the output's critic, gaussian is −log p of a Gaussian head."""
    reduction: Reduction | None = None
    """Whether L is the mean over all entries of a batch, or (sum) each sample's sum, as of a
    log-likelihood; None: as the preset has it."""
    signal: float = Field(0.0, ge=0, allow_inf_nan=False)
    """κ: l1, l2 and charbonnier weigh a pixel by 1 + κ · local level, so that the black sky does
    not rule; 0: all alike."""
    adversarial: Literal["vanilla", "lsgan", "hinge", "wgan-gp"] | None = None
    """The loss of the critics; None: as the preset has it."""
    conditional: bool | None = None
    """Let critics see the network's input beside its output; None: as the preset has it."""
    shared_critics: bool | None = None
    """Use one critic a space instead of one an output; None: as the preset has it."""
    detach: bool | None = None
    """Let the divergences of x̂ and ẑ train the network that made them alone, and not the one
    before it, at the cost of another pass; None: as the preset has it."""
    pool: int | None = Field(None, ge=0)
    """Earlier outputs that each critic is shown again; 0: none; None: as the preset has it."""
    gradient_penalty: float = Field(10.0, ge=0, allow_inf_nan=False)
    """λ, the weight of the gradient penalty of wgan-gp; see r1 for what D is."""
    r1: float | None = Field(None, ge=0, allow_inf_nan=False)
    """γ of the penalty ½γ‖∇D‖² of critics on real samples; 0: none; None: as the preset has it. D
    is the sum of a sample's N scores over √N, the mean of that over scales, so that γ means the
    same on tiles of any size."""
    mmd_scales: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        [0.05, 0.2, 0.9], min_length=1
    )
    """Lengths of the kernels of the divergence mmd: root mean squares over a sample's entries."""
    slices: int = Field(128, ge=1, le=1 << 16)
    """Directions that the divergence sliced projects samples on, drawn anew at every step."""


class TrainConfig(Section):
    """The training loop: steps, learning rate, validation, checkpoints."""

    out: OutPath = Path("runs/run")
    """Folder of the run: checkpoints, previews, figures and the bundle."""
    init: LocalPath | None = None
    """A bundle, by its folder or name, whose weights are the first ones; None: a fresh start."""
    steps: int = Field(10_000, ge=1)
    """Updates of the weights in the whole run."""
    precision: Literal["no", "bf16", "fp16", "auto"] = "no"
    """Mixed precision: no (float32), bf16, or fp16 (GPUs alone); auto: bf16 where the processor has
    it in hardware, for images and losses without densities, else no. A run keeps the one that it
    began with."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate, after the warm-up."""
    critic_lr: float | None = Field(None, gt=0)
    """Learning rate of the critics; None: lr."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw for all weights; muon for the matrices of the generators, whose other weights and
    critics keep adamw."""
    betas: tuple[Share, Share] = (0.5, 0.99)
    """β₁ and β₂ of adamw: how long it remembers gradients and their squares."""
    weight_decay: float = Field(0.0, ge=0)
    """Share of the weights, times the learning rate, that each step takes away."""
    warmup: int = Field(100, ge=0)
    """Steps in which the learning rate rises from zero."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How it falls afterwards: along a cosine, or in a line in the second half only."""
    final_lr: float = Field(0.01, ge=0, le=1)
    """Learning rate where the schedule ends, as a share of lr."""
    critic_steps: int | None = Field(None, ge=1)
    """Updates of the critics, each on batches of its own, in a step; the last of them is together
    with the generators' one; None: as the preset has it, else 1."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of each optimiser's gradient; None: not clipped."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are averaged for one step. Means, and samples that mmd compares, are
    of one batch of all processes each: it stays unbiased, but is less certain than of one large."""
    ema: float = Field(0.999, ge=0, lt=1)
    """Decay a step of the running average of the weights, which is what is validated and saved; 0:
    no average."""
    validate_every: int = Field(500, ge=1)
    """Steps from one validation to the next."""
    validate_tiles: int = Field(64, ge=1)
    """Most tiles that a validation looks at."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps from one checkpoint to the next."""
    keep: int = Field(2, ge=1)
    """Checkpoints kept, besides the best."""
    log_every: int = Field(20, ge=1)
    """Steps from one line of figures to the next."""
    trackers: list[str] = ["jsonl", "tensorboard"]
    """Where the figures go: jsonl writes metrics.jsonl, tensorboard its own files, and any other
    that Accelerate knows (wandb, mlflow, comet_ml, aim, trackio, …), once its package is
    installed."""
    select: str | None = None
    """The score on validation tiles by which the best weights are told, such as forward/psnr,
    backward/ssim or forward/bits; without a direction (psnr, ssim, l1, bits) it is that of both
    maps where there is one (both/bits of momenta_flow), else the forward one where there is one;
    last: the newest; None: bits for a cinn, else psnr. These need pairs; without any there are
    direct/psnr (of x → z → x) and reverse/psnr (of z → x → z) where there are both maps, and
    forward/mmd and forward/frechet (or backward/…), how like the data the outputs are. Where the
    score is not to be had the newest weights are the best."""
    patience: int | None = Field(None, ge=1)
    """Validations in a row without a better score after which training ends early; the first
    weights are then scored too, so that what is saved is never worse than they were. None: all
    steps are made."""
    channels_last: bool | Literal["auto"] = "auto"
    """Keep image tensors channels last in memory; auto: where that is faster, which it is but for
    networks with batch or instance norm on a CPU."""
    compile: bool = False
    """Compile the networks, and critics without a gradient penalty, with torch.compile: a slow
    start, faster steps. Checkpoints are those of a run without it."""

    @field_validator("precision", mode="before")
    @classmethod
    def _yaml_reads_no_as_false(cls, value: object) -> object:
        return "no" if value is False else value
