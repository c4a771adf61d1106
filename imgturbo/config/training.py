"""How tiles become batches, what is minimised, and the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from imgturbo.config.section import Section

__all__ = [
    "DataConfig",
    "ObjectiveConfig",
    "TrainConfig",
]


class DataConfig(Section):
    tiles: Path | None = None  # None: prepare.out
    batch_size: int = Field(8, ge=1)  # per process and step
    crop: int | None = Field(None, ge=8)  # None: whole tiles
    augment: Literal["none", "mirror", "flips", "d4"] = "d4"  # mirror: left and right alone
    pairing: Literal["auto", "paired", "unpaired"] = "auto"
    paired_fraction: float | None = Field(None, ge=0, le=1)  # of a batch, in a mixed set
    focus: float = Field(0.0, ge=0)  # of focus + 1 samples so many go by detail
    workers: int = Field(0, ge=0)


Output = Literal["z_tilde", "x_hat", "x_tilde", "z_hat"]
"""The four outputs of TURBO: direct path x → z̃ → x̂, reverse path z → x̃ → ẑ."""


Distance = Literal["l1", "l2", "charbonnier", "shifted", "texture", "lpips", "fourier", "spectrum"]
DistanceMix = dict[Distance, float]


class ObjectiveConfig(Section):
    """Eight free weights: ``paired`` are the L terms, ``marginal`` the D terms.

    A weight left out takes the preset's; the preset ``custom`` sets all of them to zero. The preset
    ``likelihood`` is that of a decoder of kind cinn, which has no weights but ``noise``, and
    ``diffusion`` that of the kind diffusion, which has none.
    """

    preset: (
        Literal["custom", "turbo", "pix2pix", "cyclegan", "one_cycle", "likelihood", "diffusion"]
        | None
    ) = None  # None: likelihood for a cinn, diffusion for that kind, else turbo
    noise: float = Field(0.0, ge=0)  # likelihood: σ of the Gaussian added to the stretched target
    paired: dict[Output, float] = {}
    marginal: dict[Output, float] = {}
    identity: dict[Literal["x", "z"], float] = {}  # ‖decoder(x) − x‖ and ‖encoder(z) − z‖
    distance: dict[Output, DistanceMix] = {}  # left out: the preset's, else {l1: 1}
    signal: float = Field(0.0, ge=0)  # κ: l1, l2, charbonnier are weighted by 1 + κ · local level
    adversarial: Literal["vanilla", "lsgan", "hinge", "wgan-gp"] | None = None  # None: preset's
    conditional: bool | None = None  # None: the preset's (pix2pix: True)
    shared_critics: bool = False  # one critic a space instead of one an output
    pool: int | None = Field(None, ge=0)  # None: the preset's; 0: no image pool
    gradient_penalty: float = Field(10.0, ge=0)  # wgan-gp
    r1: float = Field(0.0, ge=0)  # ½γ‖∇D‖² on real samples


class TrainConfig(Section):
    out: Path = Path("runs/run")
    init: Path | None = None  # a bundle, or its name, whose weights are the first ones
    steps: int = Field(10_000, ge=1)
    precision: Literal["no", "bf16", "fp16"] = "no"
    lr: float = Field(2e-4, gt=0)
    critic_lr: float | None = Field(None, gt=0)  # None: lr
    # muon: for the matrices of the generators; their other weights and critics keep adamw.
    optimizer: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.5, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    warmup: int = Field(100, ge=0)
    schedule: Literal["cosine", "linear"] = "cosine"  # linear: falls in the second half only
    final_lr: float = Field(0.01, ge=0, le=1)  # of lr, where the schedule ends
    clip: float | None = Field(1.0, gt=0)  # norm of each optimiser's gradient; None: off
    accumulate: int = Field(1, ge=1)
    ema: float = Field(0.999, ge=0, lt=1)  # 0: off
    validate_every: int = Field(500, ge=1)
    validate_tiles: int = Field(64, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    keep: int = Field(2, ge=1)  # checkpoints kept, besides the best
    log_every: int = Field(20, ge=1)
    # Where numbers go: jsonl, and any that Accelerate knows (tensorboard, wandb, mlflow, …).
    trackers: list[str] = ["jsonl", "tensorboard"]
    # What "best" means, on validation tiles; None: bits for a cinn, else psnr; last: the newest.
    select: Literal["psnr", "ssim", "l1", "bits", "last"] | None = None
    channels_last: bool = True
    compile: bool = False

    @field_validator("precision", mode="before")
    @classmethod
    def _yaml_reads_no_as_false(cls, value: object) -> object:
        return "no" if value is False else value
