"""The engines behind one door: which network, loss, preset and score belong to a kind of decoder.

    kind  →  network (config section, channels) → Generator
             trainable (Config, channels of z, channels of x) → Trainable
             presets, and the one that is meant where none is named;  the score that selects

TURBO pairs (``imgturbo.turbo``), conditional flows (``imgturbo.flows``) and diffusion models
(``imgturbo.diffusion``) are trained by the same loop, saved in the same bundles and applied by the
same mosaic translator. This is the one place that knows which kinds there are: a new engine is a
new room and one :func:`register`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgturbo.config import (
    AugmentedINNConfig,
    CoarsenConfig,
    CodeToImageConfig,
    Config,
    CycleGANResNetConfig,
    DiffusionConfig,
    FlowMatchingConfig,
    ImageToCodeConfig,
    InvertibleConfig,
    MixtureINNConfig,
    MLPConfig,
    ModelConfig,
    MomentaConfig,
    MomentaFlowConfig,
    NAFNetConfig,
    NetworkConfig,
    ObjectiveConfig,
    Pix2PixUNetConfig,
    ResNetConfig,
    SRResNetConfig,
    TrainConfig,
    UNetConfig,
    accept_decoder,
    forget_decoder,
    load_config,
)
from imgturbo.diffusion import Denoising, DiffusionDecoder
from imgturbo.errors import ImgturboError
from imgturbo.flows.both_ways import BothWays
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.flows.invertible import InvertibleMap, invertible_pair
from imgturbo.flows.momenta import MomentaFlow
from imgturbo.flows.objective import Likelihood
from imgturbo.losses import IMAGE_SCORES, Trainable
from imgturbo.nets import Generator, build_generator
from imgturbo.posteriors import (
    AugmentedINN,
    AugmentedTerms,
    Bottleneck,
    DenseFlow,
    FlowMatching,
    Matching,
    MixtureDensity,
    MixtureINN,
    ZukoFlow,
)
from imgturbo.side import Side
from imgturbo.turbo import PRESETS, Objective, build_objective
from imgturbo.turbo.idle import refuse_idle

__all__ = [
    "ENGINES",
    "Engine",
    "Space",
    "bears_half_precision",
    "build_network",
    "build_trainable",
    "channels",
    "complete",
    "load_settled",
    "register",
    "settle",
    "unregister",
]


Space = Side | int
"""What an end of a translation is, or its number of channels."""


@dataclass(frozen=True)
class Engine:
    """How a network of one kind is made and trained.

    Attributes:
        network: makes it from its section of the config, its input and its output channels.
        trainable: makes the networks and their loss from (config, z, x): what the two spaces are,
            or how many channels they have; the config is a settled one, see :func:`settle`.
        presets: what ``objective.preset`` may be.
        preset: the one that is meant where none is named.
        score: what ``train.select`` is where it is left open.
        encoder: whether ``model.encoder`` may describe a network for the way back.
        brings: makes the section of the encoder that comes with a decoder; None: it brings none.
        weights: whether the weights of ``objective`` (paired, marginal, identity) are read.
        half: whether its loss bears half precision in the networks: no densities, whose
            log-determinants do not. ``train.precision: auto`` asks.
        reads: which of the keys that not every engine reads it does: those of ``objective`` but
            the preset, and critics' ones; None: any that a config sets is let pass.
    """

    network: Callable[..., Generator]
    trainable: Callable[[Config, Space, Space], Trainable]
    presets: tuple[str, ...]
    preset: str
    score: str = "psnr"
    encoder: bool = False
    brings: Callable[[NetworkConfig], NetworkConfig] | None = None
    weights: bool = False
    half: bool = True
    reads: frozenset[str] | None = None


def channels(space: Space) -> int:
    """How many channels, columns or coordinates a space has."""
    return space if isinstance(space, int) else len(space)


def _by_likelihood(network: Callable[..., Generator]) -> Engine:
    """The engine of a network that has a density."""

    def trainable(config: Config, source: Space, target: Space) -> Likelihood:
        decoder = network(config.model.decoder, channels(source), channels(target))
        return Likelihood(decoder, config.objective.noise)

    return Engine(
        network,
        trainable,
        ("likelihood",),
        "likelihood",
        score="bits",
        half=False,
        reads=frozenset({"objective.noise"}),
    )


def _one_network_both_ways(config: Config, source: Space, target: Space) -> Objective:
    section = config.model.decoder
    assert isinstance(section, InvertibleConfig)
    pair = invertible_pair(section, channels(source), channels(target))
    return build_objective(config, source, target, pair)


def _turned(section: NetworkConfig) -> NetworkConfig:
    return section.model_copy(update={"turned": True})


def _both_ways(config: Config, source: Space, target: Space) -> BothWays:
    z, x = channels(source), channels(target)
    decoder, encoder = config.model.decoder, config.model.encoder or config.model.decoder
    assert isinstance(decoder, MomentaFlowConfig)
    if not isinstance(encoder, MomentaFlowConfig):
        raise ImgturboError(
            f"model.encoder.kind is {encoder.kind}, but a model.decoder of kind {decoder.kind} is "
            "trained beside an encoder of its own kind; make it one"
        )
    forward, backward = MomentaFlow(decoder, z, x), MomentaFlow(encoder, x, z)
    if isinstance(source, Side) and isinstance(target, Side):
        forward.know(source, target)
        backward.know(target, source)
    return BothWays(forward, backward)


def _denoising(config: Config, source: Space, target: Space) -> Denoising:
    model = config.model.decoder
    assert isinstance(model, DiffusionConfig)
    return Denoising(DiffusionDecoder(model, channels(source), channels(target)))


def _matching(config: Config, source: Space, target: Space) -> Matching:
    model = config.model.decoder
    assert isinstance(model, FlowMatchingConfig)
    return Matching(FlowMatching(model, channels(source), channels(target)))


def _augmented(config: Config, source: Space, target: Space) -> AugmentedTerms:
    model = config.model.decoder
    assert isinstance(model, AugmentedINNConfig)
    network = AugmentedINN(model, channels(source), channels(target))
    return AugmentedTerms(network, config.objective.augmented)


def _mixture(config: Config, source: Space, target: Space) -> Likelihood:
    model, objective = config.model.decoder, config.objective
    assert isinstance(model, MixtureINNConfig)
    network = MixtureINN(model, channels(source), channels(target))
    if objective.preset == "bottleneck":
        return Bottleneck(network, objective.noise, objective.bottleneck)
    return Likelihood(network, objective.noise)


_OWN_KEYS = {
    "objective": [key for key in ObjectiveConfig.model_fields if key != "preset"],
    "train": [key for key in TrainConfig.model_fields if key.startswith("critic_")],
}
"""Keys of each section that some engines read and others do not. A critic's make may stand idle."""

_EIGHT_TERMS = Engine(
    build_generator,
    build_objective,
    tuple(PRESETS),
    "turbo",
    encoder=True,
    weights=True,
    reads=frozenset(f"{name}.{key}" for name, keys in _OWN_KEYS.items() for key in keys)
    - {"objective.noise", "objective.augmented", "objective.bottleneck"},
)
_PLAIN = (
    UNetConfig, NAFNetConfig, ResNetConfig, MLPConfig, Pix2PixUNetConfig, CycleGANResNetConfig,
    CodeToImageConfig, ImageToCodeConfig, SRResNetConfig, CoarsenConfig, MomentaConfig,
)  # fmt: skip


def _kind_of(section: type[NetworkConfig]) -> str:
    return str(section.model_fields["kind"].default)


ENGINES: dict[str, Engine] = {
    **{_kind_of(section): _EIGHT_TERMS for section in _PLAIN},
    "cinn": _by_likelihood(CINNDecoder),
    "flow": _by_likelihood(DenseFlow),
    "mdn": _by_likelihood(MixtureDensity),
    "zuko": _by_likelihood(ZukoFlow),
    "invertible": replace(
        _EIGHT_TERMS,
        network=InvertibleMap,
        trainable=_one_network_both_ways,
        preset="flow",
        half=False,
        encoder=False,
        brings=_turned,
    ),
    "momenta_flow": Engine(
        MomentaFlow,
        _both_ways,
        ("likelihood",),
        "likelihood",
        score="bits",
        encoder=True,
        half=False,
        reads=frozenset(),
    ),
    "diffusion": Engine(
        DiffusionDecoder, _denoising, ("diffusion",), "diffusion", reads=frozenset()
    ),
    "flow_matching": Engine(
        FlowMatching, _matching, ("matching",), "matching", score="velocity", reads=frozenset()
    ),
    "augmented_inn": Engine(
        AugmentedINN,
        _augmented,
        ("augmented",),
        "augmented",
        score="mmd",
        half=False,
        reads=frozenset({"objective.augmented"}),
    ),
    "mixture_inn": Engine(
        MixtureINN,
        _mixture,
        ("likelihood", "bottleneck"),
        "likelihood",
        score="bits",
        half=False,
        reads=frozenset({"objective.noise", "objective.bottleneck"}),
    ),
}
"""Every kind that ``model.decoder`` may be."""


def register(section: type[NetworkConfig], engine: Engine) -> None:
    """Add a kind of network: from then on configs may name it, and all commands work with it.

    Args:
        section: its keys under ``model.decoder``; its field ``kind`` is a ``Literal`` of one name,
            which is the default.
        engine: how it is made and trained.

    Raises:
        ValueError: there is an engine of that kind.
    """
    kind = _kind_of(section)
    if kind in ENGINES:
        raise ValueError(f"there is an engine of kind {kind!r} already")
    ENGINES[kind] = engine
    accept_decoder(section)


def unregister(section: type[NetworkConfig]) -> None:
    """Take back :func:`register`."""
    del ENGINES[_kind_of(section)]
    forget_decoder(section)


def build_network(section: NetworkConfig, in_channels: int, out_channels: int) -> Generator:
    """A fresh generator of any engine; its weights come from torch's own random generator.

    Raises:
        ImgturboError: a diffusion model without the package diffusers.
    """
    engine = ENGINES.get(section.kind, _EIGHT_TERMS)  # a physical encoder is no engine's decoder
    return engine.network(section, in_channels, out_channels)


def bears_half_precision(config: Config) -> bool:
    """Whether ``train.precision: auto`` may train what a config describes in bf16."""
    return ENGINES[config.model.decoder.kind].half


def build_trainable(config: Config, source: Space, target: Space) -> Trainable:
    """Networks and loss that ``config`` describes, freshly initialised.

    Args:
        config: its ``model`` and ``objective`` sections are read.
        source: what z is, or how many channels it has.
        target: the same of x.

    Raises:
        ImgturboError: what :func:`settle` refuses; weights that make no objective; a diffusion
            model without the package diffusers.
    """
    engine = ENGINES[config.model.decoder.kind]
    return engine.trainable(settle(config), source, target)


# ---------------------------------------------------------------------------- what goes together


def load_settled(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read the config of a training, as ``load_config`` does, and :func:`settle` it.

    Raises:
        ImgturboError: what either refuses, with the name of the file.
    """
    config = load_config(path, overrides)
    try:
        return settle(config)
    except ImgturboError as error:
        raise ImgturboError(f"{path}: {error}") from None


def settle(config: Config) -> Config:
    """A copy in which the objective and the score that suit the decoder stand where none is named.

    Raises:
        ImgturboError: a preset, a score, an encoder or weights that do not go with the decoder; a
            setting that training it would not read, or that contradicts another.
    """
    settled = complete(config)
    _refuse_unread(settled)
    if ENGINES[settled.model.decoder.kind].weights:
        refuse_idle(settled)
    return settled


def complete(config: Config) -> Config:
    """As :func:`settle`, of a config that has been trained with: what it does not read may stand.

    Raises:
        ImgturboError: a preset, a score, an encoder or weights that do not go with the decoder.
    """
    kind = config.model.decoder.kind
    engine = ENGINES[kind]
    objective = config.objective
    preset, select = objective.preset or engine.preset, config.train.select or engine.score
    _check_preset(preset, kind)
    if select not in (engine.score, "last") and select.split("/")[-1] not in IMAGE_SCORES:
        owners = [other for other, own in ENGINES.items() if own.score == select]
        if owners:
            raise ImgturboError(
                f"train.select {select} does not score a model.decoder of kind {kind}; only kind "
                f"{' or '.join(owners)} has it"
            )
    model = _with_its_encoder(config.model, engine)
    if not engine.weights and (objective.paired or objective.marginal or objective.identity):
        raise ImgturboError(
            f"objective: the preset {preset} has no paired, marginal or identity "
            "weights; leave them out, or train another model.decoder"
        )
    chosen, steps = _by_preset(config, engine, preset)
    return config.model_copy(
        update={
            "model": model,
            "objective": objective.model_copy(update={"preset": preset} | chosen),
            "train": config.train.model_copy(update={"select": select, "critic_steps": steps}),
        }
    )


def _with_its_encoder(model: ModelConfig, engine: Engine) -> ModelConfig:
    """With the encoder that the decoder brings, if it does.

    Raises:
        ImgturboError: an encoder beside a decoder that has none or another.
    """
    kind, brought = model.decoder.kind, engine.brings and engine.brings(model.decoder)
    if brought is not None and model.encoder in (None, brought):
        return model.model_copy(update={"encoder": brought})
    if model.encoder is None:
        return model
    if not engine.encoder:
        raise ImgturboError(
            f"a model.decoder of kind {kind} has no encoder beside it; leave it out"
        )
    own = ENGINES.get(model.encoder.kind, _EIGHT_TERMS)  # an operator has no engine of its own
    if own.trainable is not engine.trainable:
        raise ImgturboError(
            f"model.encoder.kind {model.encoder.kind} does not go with model.decoder.kind {kind}; "
            "leave it out, or make the decoder of that kind"
        )
    return model


def _by_preset(config: Config, engine: Engine, preset: str) -> tuple[dict[str, Any], int | None]:
    """What a preset decides where a config leaves it open: of the objective; steps of critics.

    An engine that reads none of it has them open, however a config says that there is nothing.
    """
    row = PRESETS.get(preset) if engine.weights else None
    keys, steps = ("shared_critics", "r1"), config.train.critic_steps
    asked = {key: getattr(config.objective, key) for key in keys}
    if row is None:
        return {key: value or None for key, value in asked.items()}, None if steps == 1 else steps
    chosen = {k: getattr(row.terms, k) if v is None else v for k, v in asked.items()}
    return chosen, row.critic_steps if steps is None else steps


def _check_preset(preset: str, kind: str) -> None:
    """Refuse a preset that there is not, or that is another kind's."""
    engine = ENGINES[kind]
    if preset in engine.presets:
        return
    owners = [other for other, own in ENGINES.items() if preset in own.presets]
    if not owners:
        known = list(dict.fromkeys(name for own in ENGINES.values() for name in own.presets))
        near = difflib.get_close_matches(preset, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ImgturboError(
            f"objective.preset: there is no preset {preset!r}; {hint}presets: {', '.join(known)}"
        )
    if len(engine.presets) == 1:
        pair = f"preset {engine.preset} and kind {kind} go together"
    else:
        pair = f"preset {preset} and kind {owners[0]} go together"
    raise ImgturboError(
        f"objective.preset {preset} does not train a model.decoder of kind {kind}; {pair}"
    )


def _refuse_unread(config: Config) -> None:
    """Refuse a setting other than its default that the decoder's engine does not read."""
    kind = config.model.decoder.kind
    reads = ENGINES[kind].reads
    if reads is None:
        return
    for name, keys in _OWN_KEYS.items():
        section = getattr(config, name)
        fields = type(section).model_fields
        for key in keys:
            dotted = f"{name}.{key}"
            if dotted in reads or getattr(section, key) == fields[key].get_default():
                continue
            readers = [own for own, engine in ENGINES.items() if dotted in (engine.reads or ())]
            raise ImgturboError(
                f"{dotted} is set, but a model.decoder of kind {kind} is trained without it; leave "
                f"it out (it goes with kind {readers[0]})"
            )
