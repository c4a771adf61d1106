"""The typed schema of every YAML in ``configs/``.

A config file is read in four parts, each a section of its own and each optional where it is not
needed: ``prepare`` (which files, how to register and tile them), ``data`` (how tiles become
batches), ``model`` (networks) and ``objective`` (the eight weights), ``train`` (the loop).

Unknown keys are refused with the nearest valid name; values given on the command line as
``train.steps=1000`` are read as YAML and replace what the file says.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imgturbo.errors import ImgturboError

__all__ = [
    "ColorizationConditionConfig",
    "ConditionConfig",
    "Config",
    "CriticConfig",
    "CycleGANResNetConfig",
    "DataConfig",
    "DiffusionConfig",
    "FieldConfig",
    "FlowConfig",
    "FlowDenseConfig",
    "FlowStageConfig",
    "GeneratorConfig",
    "MLPConfig",
    "ModelConfig",
    "NAFNetConfig",
    "ObjectiveConfig",
    "PicturesConfig",
    "Pix2PixUNetConfig",
    "PrepareConfig",
    "PyramidConditionConfig",
    "RegisterConfig",
    "ResNetConfig",
    "SplitConfig",
    "StretchConfig",
    "TileConfig",
    "TrainConfig",
    "UNetConfig",
    "load_config",
]

Output = Literal["z_tilde", "x_hat", "x_tilde", "z_hat"]
"""The four outputs of TURBO: direct path x → z̃ → x̂, reverse path z → x̃ → ẑ."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are checked on assignment."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, protected_namespaces=())


# ---------------------------------------------------------------------------------- prepare


class FieldConfig(Section):
    """One patch of sky: the files of each side; a side left empty makes unpaired tiles."""

    name: str
    source: list[Path] = []
    target: list[Path] = []
    source_unit: str = ""  # taken for files without BUNIT: MJy/sr, electron/s, 10 nJy …
    target_unit: str = ""
    split: Literal["auto", "train", "validation"] = "auto"

    @model_validator(mode="after")
    def _has_a_side(self) -> FieldConfig:
        if not self.source and not self.target:
            raise ValueError(f"field {self.name!r} names neither source nor target files")
        return self


class RegisterConfig(Section):
    """Residual alignment of source onto target after the WCS has been trusted as far as it goes."""

    method: Literal["none", "sources"] = "sources"
    model: Literal["shift", "affine", "polynomial"] = "affine"
    degree: int = Field(2, ge=2, le=5)  # of the polynomial
    local: bool = False  # smooth local shifts after the global model
    min_sources: int = Field(8, ge=3)
    max_shift: float = Field(3.0, gt=0)  # arcsec searched when both sides have a WCS


class SplitConfig(Section):
    """Train/validation by sky region, never by random tile."""

    method: Literal["blocks", "rows", "field"] = "blocks"
    fraction: float = Field(0.2, ge=0, lt=1)  # of the sky that goes to validation
    block: int = Field(4, ge=1)  # side of a block, in tiles
    rows: tuple[int, int] | None = None  # 'rows': [first, last) target rows of validation
    guard: int = Field(0, ge=0)  # pixels left unused between the two regions


class TileConfig(Section):
    size: int = Field(128, ge=8)
    stride: int | None = None  # None: no overlap
    min_valid: float = Field(0.8, ge=0, le=1)


class StretchConfig(Section):
    """y = asinh((f − offset)/softening)/scale, or its linear limit for pictures."""

    kind: Literal["auto", "asinh", "linear"] = "auto"  # auto: linear for pictures, asinh for FITS
    softening: float = Field(3.0, gt=0)  # in units of the sky's robust standard deviation
    percentile: float = Field(99.9, gt=50, le=100)  # the flux that is mapped to y = 1


class PicturesConfig(Section):
    """Photographs instead of FITS files, on no sky: colour pictures, or pairs of pictures.

    ``colour`` teaches L → ab; ``pairs`` reads the source from ``files`` and the target of the same
    name from ``targets``; ``halves`` has both in one picture, side by side.
    """

    kind: Literal["colour", "pairs", "halves"] = "colour"
    files: list[Path] = []  # pictures, and folders of pictures
    targets: list[Path] = []  # the same for the targets of "pairs"
    source_half: Literal["left", "right"] = "left"
    validation: list[Path] = []  # like files: more pictures, held out whole
    hold_out: Literal["none", "pictures", "strip"] | None = None  # None: pictures, or as named
    fraction: float = Field(0.1, gt=0, lt=1)  # of the pictures, or of each one's right side
    size: int | None = Field(256, ge=8)  # the shorter side in pixels; None: as it is
    zooms: list[Annotated[float, Field(gt=0)]] = [1.0]  # training sees each picture at these too

    @model_validator(mode="after")
    def _has_pictures(self) -> PicturesConfig:
        if not self.files:
            raise ValueError("'files' names no picture and no folder of pictures")
        if (self.kind == "pairs") != bool(self.targets):
            raise ValueError("'targets' goes with the kind 'pairs', and only with it")
        return self


class PrepareConfig(Section):
    fields: list[FieldConfig] = []
    pictures: PicturesConfig | None = None  # then fields, register and split play no part
    out: Path = Path("runs/tiles.zarr")
    pixel_scale: float | None = Field(None, gt=0)  # arcsec; None keeps the target's grid
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    tile: TileConfig = TileConfig()
    split: SplitConfig = SplitConfig()
    stretch: StretchConfig = StretchConfig()
    workers: int = Field(2, ge=1)

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


# ------------------------------------------------------------------------------------- data


class DataConfig(Section):
    tiles: Path | None = None  # None: prepare.out
    batch_size: int = Field(8, ge=1)  # per process and step
    crop: int | None = Field(None, ge=8)  # None: whole tiles
    augment: Literal["none", "mirror", "flips", "d4"] = "d4"  # mirror: left and right alone
    pairing: Literal["auto", "paired", "unpaired"] = "auto"
    paired_fraction: float | None = Field(None, ge=0, le=1)  # of a batch, in a mixed set
    workers: int = Field(0, ge=0)


# ------------------------------------------------------------------------------------ model


class UNetConfig(Section):
    kind: Literal["unet"] = "unet"
    width: int = Field(32, ge=1)  # channels at the finest level after the stem
    depth: int = Field(3, ge=0)  # times the resolution is halved
    blocks: int = Field(2, ge=1)  # residual blocks a level, each way
    stem: int = Field(1, ge=1)  # pixel-unshuffle factor: 2 or 4 makes it fast on a CPU
    norm: Literal["none", "channel"] = "channel"  # per pixel over channels: no image statistics
    residual: bool = True  # adds the input where the channel counts agree
    noise_channels: int = Field(0, ge=0)  # a layer; > 0 makes the generator stochastic
    dropout: float = Field(0.0, ge=0, lt=1)


class NAFNetConfig(Section):
    """A U-Net of gated blocks on top of an affine map of the colours."""

    kind: Literal["nafnet"] = "nafnet"
    width: int = Field(32, ge=1)  # channels at the finest level after the stem
    depth: int = Field(3, ge=0)  # times the resolution is halved
    blocks: int = Field(1, ge=0)  # gated blocks a level, each way
    middle: int = Field(4, ge=1)  # gated blocks at the coarsest level
    stem: int = Field(2, ge=1)  # pixel-unshuffle factor
    mixing: Literal["depthwise", "dense"] = "dense"  # of 3×3 kernels; depthwise: as published


class ResNetConfig(Section):
    kind: Literal["resnet"] = "resnet"
    width: int = Field(64, ge=1)
    downs: int = Field(2, ge=0)
    blocks: int = Field(9, ge=1)
    norm: Literal["none", "channel"] = "channel"
    residual: bool = True
    noise_channels: int = Field(0, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class Pix2PixUNetConfig(Section):
    """The generator of pix2pix as published, for comparisons."""

    kind: Literal["pix2pix_unet"] = "pix2pix_unet"
    width: int = Field(64, ge=1)
    depth: int = Field(8, ge=2)  # halvings: images grow to multiples of 2**depth pixels
    norm: Literal["batch", "instance"] = "batch"
    dropout: float = Field(0.5, ge=0, lt=1)
    output: Literal["linear", "tanh"] = "tanh"  # tanh bounds stretched values to 0…1


class CycleGANResNetConfig(Section):
    """The generator of CycleGAN as published, for comparisons."""

    kind: Literal["cyclegan_resnet"] = "cyclegan_resnet"
    width: int = Field(64, ge=1)
    downs: int = Field(2, ge=1)
    blocks: int = Field(9, ge=1)
    norm: Literal["batch", "instance"] = "instance"
    dropout: float = Field(0.0, ge=0, lt=1)
    output: Literal["linear", "tanh"] = "tanh"  # tanh bounds stretched values to 0…1


class MLPConfig(Section):
    """Dense network for tables of numbers, (B, C)."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[int] = [256, 128, 64]
    noise_channels: int = Field(0, ge=0)
    residual: bool = False


GeneratorConfig = Annotated[
    UNetConfig | NAFNetConfig | ResNetConfig | MLPConfig | Pix2PixUNetConfig | CycleGANResNetConfig,
    Field(discriminator="kind"),
]


class CriticConfig(Section):
    kind: Literal["patchgan", "mlp"] = "patchgan"
    width: int = Field(64, ge=1)
    layers: int = Field(3, ge=0)  # stride-2 layers; 3 sees 70 pixels
    scales: int = Field(1, ge=1)  # the same critic on halved images too
    norm: Literal["none", "spectral", "batch", "instance"] = (
        "spectral"  # the last two: as published
    )
    hidden: list[int] = [256, 128, 64]  # of the dense critic

    @model_validator(mode="after")
    def _tables_have_no_image_statistics(self) -> CriticConfig:
        if self.kind == "mlp" and self.norm in ("batch", "instance"):
            raise ValueError("a dense critic has no image statistics; set its norm to spectral")
        return self


class FlowStageConfig(Section):
    """One resolution of a cINN: conditional couplings, then half the resolution, then a split."""

    injector: bool = False  # first an affine map of all channels that the condition predicts
    blocks: int = Field(4, ge=0)  # conditional couplings, each followed by a mixing
    width: int = Field(64, ge=1)  # hidden channels of their networks, and of their condition
    kernels: list[int] = Field([3, 3, 3], min_length=2)  # a convolution each; 1 sees one pixel
    down: Literal["haar", "unshuffle"] = "haar"
    order: Literal["channel", "band"] = "band"  # "band" puts the averages first, to be kept
    rebalance: float = Field(1.0, gt=0)  # scale of the wavelets
    coarse_blocks: int = Field(2, ge=0)  # unconditional 1×1 couplings after halving
    coarse_width: int = Field(128, ge=1)
    keep: float = Field(1.0, gt=0, le=1)  # share of the channels that go on; the rest are latents

    @model_validator(mode="after")
    def _kernels_have_a_centre(self) -> FlowStageConfig:
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd, like [3, 1, 3], not {self.kernels}")
        return self


class FlowDenseConfig(Section):
    """The dense backend behind the last stage, which fixes the image size."""

    size: int = Field(64, ge=2)  # side of the image in pixels
    blocks: int = Field(8, ge=1)
    layers: int = Field(3, ge=1)  # hidden layers of the networks
    width: int = Field(512, ge=1)  # of those, and of the condition


class PyramidConditionConfig(Section):
    """Features of the condition at every stage's resolution: a shared trunk, a head a stage."""

    kind: Literal["vgg", "convnext"] = "convnext"
    scale: int = Field(1, ge=1)  # pixels of the condition along one pixel of x
    width: int = Field(64, ge=1)  # features at the finest stage; doubled with every halving
    max_width: int = Field(512, ge=1)
    blocks: int = Field(2, ge=1)  # a stage
    frozen: bool = False  # whether only its heads are trained


class ColorizationConditionConfig(Section):
    """The network of Zhang et al. 2016 at one resolution, and a head for every coupling."""

    kind: Literal["zhang"] = "zhang"
    scale: Literal[4] = 4
    frozen: bool = False  # whether only its heads are trained


ConditionConfig = Annotated[
    PyramidConditionConfig | ColorizationConditionConfig, Field(discriminator="kind")
]


class FlowConfig(Section):
    """A multi-scale conditional invertible network, trained by maximum likelihood."""

    kind: Literal["cinn"] = "cinn"
    stages: list[FlowStageConfig] = Field(
        [FlowStageConfig(keep=0.5), FlowStageConfig(keep=0.5), FlowStageConfig()], min_length=1
    )
    dense: FlowDenseConfig | None = None  # None: convolutions to the end, any image size
    law: Literal["affine", "additive", "gin", "spline"] = "affine"
    clamp: float = Field(1.5, gt=0)  # α, the largest |log scale| of one coupling
    reach: float | None = Field(3.0, gt=0)  # what couplings see of x is bounded; None: not
    mixing: Literal["orthogonal", "lu", "permutation"] = "orthogonal"
    actnorm: bool = False  # before every coupling
    prior: bool = False  # what is split off is normal given what is kept and the condition
    condition: ConditionConfig = PyramidConditionConfig()
    memory_saving: bool = False  # recompute activations by inversion in the backward pass

    @model_validator(mode="after")
    def _last_stage_keeps_all(self) -> FlowConfig:
        if self.dense is None and self.stages[-1].keep < 1:
            raise ValueError("without a dense backend nothing follows the last stage: keep 1 there")
        if self.condition.kind == "zhang" and any(stage.injector for stage in self.stages):
            raise ValueError("an injector reads a stage's condition, which kind zhang has not")
        return self


class DiffusionConfig(Section):
    """A conditional diffusion model: noise is taken away in steps, with the source beside it."""

    kind: Literal["diffusion"] = "diffusion"
    width: int = Field(64, ge=1)  # channels at the finest level
    depth: int = Field(3, ge=0)  # times the resolution is halved
    blocks: int = Field(2, ge=1)  # residual blocks a level, each way
    dropout: float = Field(0.0, ge=0, lt=1)
    steps: int = Field(1000, ge=1)  # times t that training draws from
    schedule: Literal["cosine", "linear"] = "cosine"
    betas: tuple[float, float] = (1e-4, 0.02)  # first and last of the linear schedule
    prediction: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    sampler: Literal["ddim", "ddpm"] = "ddim"
    sampling_steps: int = Field(50, ge=1)  # network passes a draw; divides 'steps'
    center: float = 0.5  # x₀ = (stretched target − center)/spread, which should lie around −1…1
    spread: float = Field(0.5, gt=0)
    clip: float | None = Field(None, gt=0)  # of |x₀| while sampling; None: fluxes have no bound

    @model_validator(mode="after")
    def _can_be_sampled(self) -> DiffusionConfig:
        if self.steps % self.sampling_steps:
            raise ValueError(
                f"sampling_steps {self.sampling_steps} does not divide the {self.steps} steps; "
                f"use {_nearest_divisor(self.steps, self.sampling_steps)}"
            )
        first, last = self.betas
        if not 0 < first <= last < 1:
            raise ValueError(f"betas must rise between 0 and 1, not {first} to {last}")
        if (self.schedule, self.prediction, self.clip) == ("cosine", "epsilon", None):
            raise ValueError(
                "prediction epsilon magnifies errors without bound where a cosine schedule leaves "
                "noise alone; set clip (1 for pictures), or prediction: v_prediction"
            )
        return self


def _nearest_divisor(number: int, wanted: int) -> int:
    divisors = (divisor for divisor in range(1, number + 1) if number % divisor == 0)
    return min(divisors, key=lambda divisor: abs(divisor - wanted))


DecoderConfig = Annotated[
    GeneratorConfig | FlowConfig | DiffusionConfig, Field(discriminator="kind")
]


class ModelConfig(Section):
    decoder: DecoderConfig = UNetConfig()  # z → x̃, source to target ("forward")
    encoder: GeneratorConfig | None = None  # x → z̃, target to source; None: like the decoder
    critic: CriticConfig = CriticConfig()


# -------------------------------------------------------------------------------- objective

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


# ------------------------------------------------------------------------------------ train


class TrainConfig(Section):
    out: Path = Path("runs/run")
    init: Path | None = None  # a bundle, or its name, whose weights are the first ones
    steps: int = Field(10_000, ge=1)
    precision: Literal["no", "bf16", "fp16"] = "no"
    lr: float = Field(2e-4, gt=0)
    critic_lr: float | None = Field(None, gt=0)  # None: lr
    betas: tuple[float, float] = (0.5, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    warmup: int = Field(100, ge=0)
    schedule: Literal["cosine", "linear"] = "cosine"  # linear: falls in the second half only
    final_lr: float = Field(0.01, ge=0, le=1)  # of lr, where the schedule ends
    clip: float | None = Field(1.0, gt=0)  # gradient norm; None: no clipping
    accumulate: int = Field(1, ge=1)
    ema: float = Field(0.999, ge=0, lt=1)  # 0: off
    validate_every: int = Field(500, ge=1)
    validate_tiles: int = Field(64, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    keep: int = Field(2, ge=1)  # checkpoints kept, besides the best
    log_every: int = Field(20, ge=1)
    trackers: list[Literal["jsonl", "tensorboard"]] = ["jsonl", "tensorboard"]
    # What "best" means, on validation tiles; None: bits for a cinn, else psnr; last: the newest.
    select: Literal["psnr", "ssim", "l1", "bits", "last"] | None = None
    channels_last: bool = True
    compile: bool = False


# Decoders that only an objective of their own trains.
_PRESET_OF: dict[str, Literal["likelihood", "diffusion"]] = {
    "cinn": "likelihood",
    "diffusion": "diffusion",
}


class Config(Section):
    name: str = "imgturbo"
    seed: int = 0
    prepare: PrepareConfig = PrepareConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _one_engine(self) -> Config:
        """The objective and the score that suit the decoder, where they are left open."""
        kind = self.model.decoder.kind
        if self.objective.preset is None:
            self.objective.preset = _PRESET_OF.get(kind, "turbo")
        if self.train.select is None:
            self.train.select = "bits" if kind == "cinn" else "psnr"
        preset = self.objective.preset
        for own_kind, own_preset in _PRESET_OF.items():
            if (kind == own_kind) != (preset == own_preset):
                raise ValueError(
                    f"objective.preset {preset} does not train a model.decoder of kind {kind}; "
                    f"preset {own_preset} and kind {own_kind} go together"
                )
        if self.train.select == "bits" and kind != "cinn":
            raise ValueError("train.select bits needs a likelihood, which only kind cinn has")
        if kind in _PRESET_OF and self.model.encoder is not None:
            raise ValueError(
                f"a model.decoder of kind {kind} has no encoder beside it; leave it out"
            )
        return self

    @classmethod
    def from_overrides(cls, overrides: Sequence[str]) -> Config:
        """The defaults with ``section.key=value`` overrides, where no file is wanted."""
        return _validated("command line", {}, overrides)

    @property
    def tiles(self) -> Path:
        """The tile store that training reads."""
        return self.data.tiles or self.prepare.out


# ---------------------------------------------------------------------------------- reading


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file and apply ``section.key=value`` overrides.

    Raises:
        ImgturboError: no such file, not YAML, an unknown key (with the nearest valid name), a bad
            value, or an override that is not ``key=value``.
    """
    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ImgturboError(f"{path}: no such config file; configs/ has examples") from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ImgturboError(f"{path}: cannot be read ({why}); give a YAML file") from None
    except yaml.YAMLError as error:
        raise ImgturboError(f"{path}: not valid YAML: {_where(error)}; mend it there") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ImgturboError(f"{path}: a config is a mapping of sections, this is not")
    return _validated(str(path), tree, overrides)


def _validated(origin: str, tree: dict[str, Any], overrides: Sequence[str]) -> Config:
    for override in overrides:
        _apply_override(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ImgturboError(f"{origin}: {_explain(error)}") from None


def _where(error: yaml.YAMLError) -> str:
    """What the parser missed, and where, in a few words."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if not problem or mark is None:
        return str(error)
    return f"{problem} at line {mark.line + 1}, column {mark.column + 1}"


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ImgturboError(f"{override!r}: overrides are written section.key=value")
    node = tree
    *parents, leaf = key.split(".")
    for name in parents:
        child = node.get(name)
        if child is None:
            child = node[name] = {}
        if not isinstance(child, dict):
            raise ImgturboError(f"{override!r}: {name!r} is a value, not a section")
        node = child
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ImgturboError(f"{override!r}: the value is not valid YAML") from None


_TAGS = (
    "unet",
    "nafnet",
    "resnet",
    "mlp",
    "pix2pix_unet",
    "cyclegan_resnet",
    "cinn",
    "diffusion",
    "vgg",
    "convnext",
    "zhang",
)


def _explain(error: ValidationError) -> str:
    """The first problem in one line, with the nearest valid name for an unknown key."""
    problem = error.errors()[0]
    # Pydantic puts the tag of a discriminated union into the path; the file has no such key.
    where = [str(part) for part in problem["loc"]]
    dotted = ".".join(part for part in where if part not in _TAGS)
    if problem["type"] == "extra_forbidden":
        valid = _valid_keys(Config, where[:-1])
        near = difflib.get_close_matches(where[-1], valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(sorted(valid))}"
        return f"unknown key {dotted!r}; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    # A problem between sections is said in full; its input would be the whole file.
    return f"{dotted}: {message} (got {problem['input']!r})" if dotted else message


def _valid_keys(section: Any, path: list[str]) -> list[str]:
    """Keys of the section that ``path`` leads to, walking the models' annotations."""
    if not path:
        return [field.alias or name for name, field in section.model_fields.items()]
    head, *rest = path
    for name, field in section.model_fields.items():
        if head not in (name, field.alias):
            continue
        models = _models_in(field.annotation)
        if rest and rest[0].isdigit():
            rest = rest[1:]
        for model in models:
            kind = model.model_fields.get("kind")
            if rest and kind is not None and kind.default == rest[0]:
                return _valid_keys(model, rest[1:])
        if models:
            return _valid_keys(models[0], rest)
    return []


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models_in(arg)]
