"""The whole of a config, and how it is read: YAML, overrides, and mistakes in one line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from imgturbo.config.diffusion import DiffusionConfig
from imgturbo.config.flows import FlowConfig
from imgturbo.config.networks import CriticConfig, CriticsConfig, GeneratorConfig, UNetConfig
from imgturbo.config.preparation import PrepareConfig
from imgturbo.config.section import Section
from imgturbo.config.training import DataConfig, ObjectiveConfig, TrainConfig
from imgturbo.errors import ImgturboError

__all__ = [
    "Config",
    "ModelConfig",
    "load_config",
]


DecoderConfig = Annotated[
    GeneratorConfig | FlowConfig | DiffusionConfig, Field(discriminator="kind")
]


class ModelConfig(Section):
    decoder: DecoderConfig = UNetConfig()  # z → x̃, source to target ("forward")
    encoder: GeneratorConfig | None = None  # x → z̃, target to source; None: like the decoder
    critic: CriticConfig = CriticConfig()
    critics: CriticsConfig = CriticsConfig()  # where the two spaces need critics of unlike kinds

    def critic_of(self, space: Literal["z", "x"]) -> CriticConfig:
        """The critics of this space: its own ones, else the common ones."""
        return getattr(self.critics, space) or self.critic


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
    "one_weight",
    "mix",
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
