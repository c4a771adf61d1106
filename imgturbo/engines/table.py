"""The table: which network, loss, preset and score belong to a kind of decoder.

    kind  →  network (config section, channels) → Generator
             trainable (Config, channels of z, channels of x) → Trainable
             presets, and the one that is meant where none is named;  the score that selects

A new engine is a new room and a line here; or a package of its own, with an entry point of the
group ``imgturbo.generators`` that names a :class:`Kind`, imported when a config first names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from imgturbo import plugins
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
)
from imgturbo.diffusion import Denoising, DiffusionDecoder
from imgturbo.errors import ImgturboError
from imgturbo.flows.both_ways import BothWays
from imgturbo.flows.decoder import CINNDecoder
from imgturbo.flows.invertible import InvertibleMap, invertible_pair
from imgturbo.flows.momenta import MomentaFlow
from imgturbo.flows.objective import Likelihood
from imgturbo.losses import Trainable
from imgturbo.nets import Generator, accept_generator, build_generator, forget_generator
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

__all__ = [
    "EIGHT_TERMS",
    "ENGINES",
    "OWN_KEYS",
    "Engine",
    "Kind",
    "Space",
    "by_likelihood",
    "channels",
    "eight_terms",
    "register",
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


@dataclass(frozen=True)
class Kind:
    """A kind of network that a package of its own brings, for the group ``imgturbo.generators``.

    An entry point names one of these; :func:`eight_terms` and :func:`by_likelihood` make the usual
    two.

    Attributes:
        section: its keys under ``model.decoder``; its field ``kind`` is a ``Literal`` of one name,
            which is the default, and that of the entry point.
        engine: how it is made and trained.
        plain: makes the bare network where the eight terms train it; None: they do not.
    """

    section: type[NetworkConfig]
    engine: Engine
    plain: Callable[..., Generator] | None = None


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


OWN_KEYS = {
    "objective": [key for key in ObjectiveConfig.model_fields if key != "preset"],
    "train": [key for key in TrainConfig.model_fields if key.startswith("critic_")],
}
"""Keys of each section that some engines read and others do not. A critic's make may stand idle."""

EIGHT_TERMS = Engine(
    build_generator,
    build_objective,
    tuple(PRESETS),
    "turbo",
    encoder=True,
    weights=True,
    reads=frozenset(f"{name}.{key}" for name, keys in OWN_KEYS.items() for key in keys)
    - {"objective.noise", "objective.augmented", "objective.bottleneck"},
)
_PLAIN = (
    UNetConfig, NAFNetConfig, ResNetConfig, MLPConfig, Pix2PixUNetConfig, CycleGANResNetConfig,
    CodeToImageConfig, ImageToCodeConfig, SRResNetConfig, CoarsenConfig, MomentaConfig,
)  # fmt: skip


def _kind_of(section: type[NetworkConfig]) -> str:
    return str(section.model_fields["kind"].default)


def _of_a_package(name: str, thing: object) -> Engine:
    """What an entry point brings, if it is a kind of network of this name."""
    if not isinstance(thing, Kind):
        why = f"is no imgturbo.engines.Kind but {type(thing).__name__}"
        raise plugins.refused(plugins.GENERATORS, name, why)
    if (called := _kind_of(thing.section)) != name:
        raise plugins.refused(plugins.GENERATORS, name, f"calls itself {called!r}")
    _take_in(thing)
    return thing.engine


ENGINES: plugins.Kinds[Engine] = plugins.Kinds(
    plugins.GENERATORS,
    {
        **{_kind_of(section): EIGHT_TERMS for section in _PLAIN},
        "cinn": _by_likelihood(CINNDecoder),
        "flow": _by_likelihood(DenseFlow),
        "mdn": _by_likelihood(MixtureDensity),
        "zuko": _by_likelihood(ZukoFlow),
        "invertible": replace(
            EIGHT_TERMS,
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
    },
    _of_a_package,
)
"""Every kind that ``model.decoder`` may be; packages may add more."""


def eight_terms(section: type[NetworkConfig], network: Callable[..., Generator]) -> Kind:
    """A kind of plain generator, which every preset of the family trains, as it does a U-Net.

    Args:
        section: its keys.
        network: makes it of its section, its input and its output channels.
    """
    return Kind(section, EIGHT_TERMS, network)


def by_likelihood(section: type[NetworkConfig], network: Callable[..., Generator]) -> Kind:
    """A kind of network that has a density, of which the likelihood of pairs is maximised.

    Args:
        section: its keys.
        network: makes it of its section, its input and its output channels.
    """
    return Kind(section, _by_likelihood(network))


def register(section: type[NetworkConfig], engine: Engine | Kind) -> None:
    """Add a kind of network: from then on configs may name it, and all commands work with it.

    An installed package is added by its entry point, without this.

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
    whole = engine if isinstance(engine, Kind) else Kind(section, engine)
    _take_in(whole)
    ENGINES[kind] = whole.engine


def _take_in(kind: Kind) -> None:
    """Let configs name it, and builders make it."""
    if kind.plain is not None:
        accept_generator(_kind_of(kind.section), kind.plain)
    accept_decoder(kind.section, encoder=kind.engine.encoder)


def unregister(section: type[NetworkConfig]) -> None:
    """Take back :func:`register`."""
    del ENGINES[_kind_of(section)]
    forget_generator(_kind_of(section))
    forget_decoder(section)
