"""The whole of a config, and how it is read: YAML, overrides, and mistakes in one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, Tag, ValidationError

from imgturbo import plugins
from imgturbo.config.diffusion import DiffusionConfig
from imgturbo.config.flows import FlowConfig, InvertibleConfig
from imgturbo.config.networks import CriticConfig, CriticsConfig, GeneratorConfig, UNetConfig
from imgturbo.config.operators import OperatorConfig
from imgturbo.config.posteriors import PosteriorConfig
from imgturbo.config.preparation import PrepareConfig
from imgturbo.config.section import NetworkConfig, Section, TruthForNumber
from imgturbo.config.shipped import found_config
from imgturbo.config.text import read_yaml, text_of, where_in
from imgturbo.config.training import DataConfig, ObjectiveConfig, TrainConfig
from imgturbo.door import door
from imgturbo.errors import ImgturboError
from imgturbo.remote import readable

__all__ = [
    "Config",
    "ModelConfig",
    "accept_decoder",
    "forget_decoder",
    "load_config",
    "section_of",
]

S = TypeVar("S", bound=Section)

DecoderConfig = Annotated[
    GeneratorConfig | InvertibleConfig | FlowConfig | DiffusionConfig | PosteriorConfig,
    Field(discriminator="kind"),
]
EncoderConfig = Annotated[
    GeneratorConfig | InvertibleConfig | OperatorConfig, Field(discriminator="kind")
]


class ModelConfig(Section):
    """The networks: a decoder z → x, an encoder x → z, critics."""

    decoder: DecoderConfig = UNetConfig()
    """The network z → x̃, source to target ('forward')."""
    encoder: EncoderConfig | None = None
    """The network x → z̃, target to source, or an operator; None: of the decoder's make. Where the
    decoder is invertible it is the inverse."""
    critic: CriticConfig = CriticConfig()
    """The critics, where the objective has any."""
    critics: CriticsConfig = CriticsConfig()
    """Critics of one space alone, where z and x need unlike ones; left out: model.critic."""

    def critic_of(self, space: Literal["z", "x"]) -> CriticConfig:
        """The critics of this space: its own ones, else the common ones."""
        return getattr(self.critics, space) or self.critic


class Config(Section):
    """The whole of a config file."""

    name: str = "imgturbo"
    """What the model is called; it goes into the bundle."""
    seed: int = 0
    """Seed of everything random: first weights, order of tiles, crops, noise."""
    prepare: PrepareConfig = PrepareConfig()
    """Which files become tiles, and how."""
    data: DataConfig = DataConfig()
    """How tiles become batches."""
    model: ModelConfig = ModelConfig()
    """The networks."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What is minimised."""
    train: TrainConfig = TrainConfig()
    """The training loop."""

    @classmethod
    def from_overrides(cls, overrides: Sequence[str], base: Config | None = None) -> Config:
        """The defaults, or ``base``, with ``section.key=value`` overrides: no file is wanted."""
        return _validated("command line", _tree_of(base), overrides)

    @classmethod
    def model_validate(cls, obj: Any, **settings: Any) -> Self:
        """As of any section; kinds of networks that installed packages bring are known by then."""
        _accept_installed(obj)
        return super().model_validate(obj, **settings)

    def to_yaml(self) -> str:
        """All of it in YAML, defaults too; :func:`load_config` reads it back."""
        tree = self.model_dump(mode="json", by_alias=True)
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)

    @property
    def tiles(self) -> Path:
        """The tile store that training reads."""
        return self.data.tiles or self.prepare.out


def accept_decoder(section: type[NetworkConfig], *, encoder: bool = False) -> None:
    """Let ``model.decoder`` be of one kind more; one that it may be already stays.

    Args:
        section: its keys; its field ``kind`` is a ``Literal`` of one name, which is the default.
        encoder: whether ``model.encoder`` may be of that kind too.
    """
    for place in ("decoder", "encoder") if encoder else ("decoder",):
        known = _networks(place)
        if section not in known:
            _set_networks(place, [*known, section])


def forget_decoder(section: type[NetworkConfig]) -> None:
    """Take back :func:`accept_decoder`; configs read before stay as they are."""
    for place in ("decoder", "encoder"):
        known = _networks(place)
        if section in known:
            _set_networks(place, [one for one in known if one is not section])


def _networks(place: str) -> list[type[BaseModel]]:
    return _models_in(ModelConfig.model_fields[place].annotation)


def _set_networks(place: str, sections: Sequence[type[BaseModel]]) -> None:
    kinds: Any = reduce(or_, sections)  # type: ignore[arg-type]
    if place == "encoder":
        kinds = Annotated[kinds, Field(discriminator="kind")] | None
    ModelConfig.model_fields[place].annotation = kinds
    for model in (ModelConfig, Config):
        model.model_rebuild(force=True)


def _accept_installed(tree: object) -> None:
    """Load the package that brings a kind of network which a config names, if it is one's.

    Raises:
        ImgturboError: the package is broken.
    """
    model = tree.get("model") if isinstance(tree, Mapping) else None
    for place in ("decoder", "encoder"):
        network = model.get(place) if isinstance(model, Mapping) else None
        kind = network.get("kind") if isinstance(network, Mapping) else None
        if not isinstance(kind, str) or kind not in plugins.offered(plugins.GENERATORS):
            continue
        if kind in _OURS:
            raise plugins.refused(plugins.GENERATORS, kind, "has the name of one that imgturbo has")
        if kind in _kinds_at("decoder"):
            continue
        thing = plugins.load_plugin(plugins.GENERATORS, kind)
        section = getattr(thing, "section", None)
        if not (isinstance(section, type) and issubclass(section, NetworkConfig)):
            why = f"is no imgturbo.engines.Kind but {type(thing).__name__}"
            raise plugins.refused(plugins.GENERATORS, kind, why)
        if kind not in _kinds(section):
            called = ", ".join(map(repr, _kinds(section)))
            raise plugins.refused(plugins.GENERATORS, kind, f"calls itself {called}")
        engine = getattr(thing, "engine", None)
        accept_decoder(section, encoder=getattr(engine, "encoder", False))


def _kinds_at(place: str) -> frozenset[str]:
    return frozenset(kind for one in _networks(place) for kind in _kinds(one))


def load_config(
    path: Path | str, overrides: Sequence[str] = (), base: Config | None = None
) -> Config:
    """Read a YAML file and apply ``section.key=value`` overrides.

    Args:
        path: of the file; ``configs/NAME.yaml``, where there is no such file, is the one of that
            name that travels with imgturbo.
        overrides: what replaces values of the file, like ``train.steps=1000``.
        base: what stands where the file says nothing; None: the defaults.

    >>> load_config("configs/demo.yaml", ["train.steps=10"]).train.steps
    10

    Raises:
        ImgturboError: no such file, not YAML, an unknown key (with the nearest valid name), a bad
            value, or an override that is not ``key=value``.
    """
    path = found_config(readable(path))
    try:
        text = text_of(path)
    except FileNotFoundError:
        raise ImgturboError(f"{path}: no such config file; configs/ has examples") from None
    except (OSError, ValueError) as error:
        why, name = getattr(error, "strerror", None) or error, str(path).replace("\0", "?")
        raise ImgturboError(f"{name}: cannot be read ({why}); give a YAML file") from None
    with door(path, remedy="mend it", what="not valid YAML"):
        try:
            tree = read_yaml(text)
        except yaml.YAMLError as error:
            why = where_in(error)
            raise ImgturboError(f"{path}: not valid YAML: {why}; mend it there") from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ImgturboError(f"{path}: a config is a mapping of sections, this is not")
    return _validated(str(path), _laid_over(_tree_of(base), tree), overrides)


def _tree_of(config: Config | None) -> dict[str, Any]:
    return {} if config is None else config.model_dump(mode="json", by_alias=True)


def _laid_over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both; where both have one, sections are laid over and values replaced.

    A section of another kind has other keys, so that it is replaced too.
    """
    joined = dict(below)
    for key, value in above.items():
        old = joined.get(key)
        both = isinstance(old, dict) and isinstance(value, Mapping)
        joined[key] = _laid_over(old or {}, value) if both and _alike(old, value) else value
    return joined


def _alike(old: Any, new: Any) -> bool:
    """Whether two sections are of one kind, if they say any."""
    return bool(new.get("kind", old.get("kind")) == old.get("kind"))


def _validated(origin: str, tree: dict[str, Any], overrides: Sequence[str]) -> Config:
    for override in overrides:
        _apply_override(tree, override)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ImgturboError(f"{origin}: {_explain(error)}") from None


def section_of(section: type[S], content: Mapping[str, Any], where: str) -> S:
    """A section that stands outside of this schema, such as a simulator's own settings.

    Args:
        section: its class.
        content: its keys and values.
        where: what error messages call it.

    Raises:
        ImgturboError: an unknown key (with the nearest valid name), or a bad value.
    """
    try:
        return section.model_validate(dict(content))
    except ValidationError as error:
        raise ImgturboError(f"{where}: {_explain(error, section)}") from None


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ImgturboError(
            f"{_short(repr(override), 200)}: overrides are written section.key=value"
        )
    node = tree
    *parents, leaf = key.split(".")
    for name in parents:
        child = node.get(name)
        if child is None:
            child = node[name] = {}
        if not isinstance(child, dict):
            raise ImgturboError(
                f"{_short(repr(override), 200)}: {name!r} is a value, not a section"
            )
        node = child
    shown = _short(repr(override), 200)
    with door(shown, remedy="mend it", what="the value is not valid YAML"):
        try:
            node[leaf] = read_yaml(text)
        except yaml.YAMLError as error:
            why = where_in(error)
            raise ImgturboError(f"{shown}: the value is not valid YAML: {why}") from None


def _explain(error: ValidationError, whole: type[BaseModel] | None = None) -> str:
    """The first problem in one line, with the nearest valid name for an unknown key."""
    problem = error.errors()[0]
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        parents, sections = _walk(where[:-1], whole)
        valid = [f.alias or name for s in sections for name, f in s.model_fields.items()]
        near = difflib.get_close_matches(where[-1], valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(sorted(valid))}"
        return f"unknown key {'.'.join([*parents, where[-1]])!r}; {hint}"
    more = ""
    if problem["type"] == "union_tag_invalid" and where[-1:] in (["decoder"], ["encoder"]):
        more = plugins.added(plugins.GENERATORS)
    cause, given = problem.get("ctx", {}).get("error"), problem["input"]
    if isinstance(cause, TruthForNumber):
        where, given = [*where, cause.key], cause.value
    dotted = ".".join(_walk(where, whole)[0])
    message = _short(problem["msg"].removeprefix("Value error, "), 400) + more
    # A problem between sections is said in full; its input would be the whole file.
    return f"{dotted}: {message} (got {_short(repr(given), 100)})" if dotted else message


def _short(text: str, length: int) -> str:
    """One line of at most so many characters, its middle left out where it is longer."""
    text = " ".join(text.split())
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def _walk(
    where: Sequence[str], whole: type[BaseModel] | None
) -> tuple[list[str], list[type[BaseModel]]]:
    """The keys of a file that lead to a place in the schema, and the sections found there.

    The schema is that of a config, or of the section ``whole``.

    Pydantic also names the member that it chose of a union of kinds; the file has no such key.
    """
    keys: list[str] = []
    sections: list[type[BaseModel]] = [whole or Config]
    tags: set[str] = set()  # of unions of plain values, such as a weight or a mix of weights
    for part in where:
        chosen = [section for section in sections if part in _kinds(section)]
        if len(sections) > 1 and chosen:
            sections = chosen
            continue
        if part in tags:
            continue
        keys.append(part)
        if not part.isdigit():  # a place in a list is followed by what the list is of
            fields = [item for section in sections for item in section.model_fields.items()]
            found = [field for name, field in fields if part in (name, field.alias)]
            tags |= {tag for field in found for tag in _tags_in(field.annotation)}
            sections = [model for field in found for model in _models_in(field.annotation)]
    return keys, sections


def _kinds(section: type[BaseModel]) -> tuple[Any, ...]:
    """Names under which a union of kinds knows this section."""
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation) if kind is not None else ()


def _tags_in(annotation: Any) -> list[str]:
    """Names that unions within an annotation give to their members."""
    own = [part.tag for part in getattr(annotation, "__metadata__", ()) if isinstance(part, Tag)]
    return own + [tag for inner in get_args(annotation) for tag in _tags_in(inner)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models_in(arg)]


_OURS = _kinds_at("decoder") | _kinds_at("encoder")
"""Kinds of networks that travel with this package."""
