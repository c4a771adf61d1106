"""From a configuration to an objective: only the networks that some term trains are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import nn

from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, Generator, build_critic, build_generator
from imgturbo.nets.operators import observer
from imgturbo.side import Side
from imgturbo.turbo.divergences import DIVERGENCES
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.presets import resolve
from imgturbo.turbo.terms import OUTPUTS, SPACE, Terms

__all__ = ["build_objective"]


class _End(NamedTuple):
    """What is known of a space.

    Its channels; whether it holds images, None: may be either; the scales of its stretch, 0 for
    a linear one, None: not known; whether it is drawn from N(0, 1), None: not known.
    """

    channels: int
    image: bool | None
    scale: tuple[float, ...] | None = None
    drawn: bool | None = None


Ends = dict[str, _End]


def build_objective(
    config: Config,
    source: int | Side,
    target: int | Side,
    pair: tuple[Generator, Generator] | None = None,
) -> Objective:
    """The objective that ``config`` describes, with freshly initialised networks.

    Args:
        config: its ``model`` and ``objective`` sections are read.
        source: what z is; or its number of channels (of columns), where both spaces hold images
            or both hold rows of numbers, as the kind of the decoder says.
        target: the same of x.
        pair: encoder and decoder where they are two ways through one network; None: as
            ``config.model`` describes them, those of the two that some term trains.

    Raises:
        ImgturboError: weights that make no objective (see ``presets.resolve``), identity terms or
            conditional critics between spaces of unlike shape, a dense critic on images or the
            reverse.
    """
    model = config.model
    images = not model.decoder.reads_rows
    ends = {
        "z": _end(source, images, model.decoder.reads_rows),
        "x": _end(target, images, (model.encoder or model.decoder).reads_rows),
    }
    terms = _with_possible_identity(resolve(config.objective), config, ends)
    terms = _without_idle(terms, config)
    _check_priors(terms, ends)
    _check_critics(terms, config, ends)
    z, x = ends["z"].channels, ends["x"].channels
    observed = model.encoder is not None and model.encoder.physical
    encoder, decoder = pair or (
        build_generator(model.encoder or model.decoder, x, z)
        if terms.needs_encoder or observed
        else None,
        build_generator(model.decoder, z, x) if terms.needs_decoder else None,
    )
    if (instrument := observer(encoder)) is not None:
        instrument.operator.read_files()
    critics: dict[str, nn.Module] = {}
    for name, output in terms.critics.items():
        own = SPACE[output]
        beside = ends["x" if own == "z" else "z"].channels if terms.is_conditional(output) else 0
        critics[name] = build_critic(model.critic_of(own), ends[own].channels, beside)
    _tell_units({"z": source, "x": target}, decoder, encoder, critics, terms)
    scales = {space: end.scale for space, end in ends.items() if end.scale is not None}
    return Objective(encoder, decoder, critics, terms, FreshNoise(), scales)


def _without_idle(terms: Terms, config: Config) -> Terms:
    """Without the preset's terms of z̃ and of identity in z where the encoder learns nothing.

    An operator is what it is: no weight depends on how far A x is from z. What is learnt in one
    must depend on some term.
    """
    encoder, own = config.model.encoder, config.objective
    if encoder is None or not encoder.physical:
        return terms
    if encoder.learns:
        if not terms.needs_encoder:
            raise ImgturboError(
                "model.encoder.operator.learnable is set, but no term of the objective depends on "
                "the encoder; give objective.paired.x_hat a weight, or leave it out"
            )
        return terms
    for key, given in (
        ("paired.z_tilde", own.paired.get("z_tilde")),
        ("marginal.z_tilde", own.marginal.get("z_tilde")),
        ("identity.z", own.identity.get("z")),
    ):
        if given:
            raise ImgturboError(
                f"objective.{key} is set, but model.encoder is an operator of which nothing is "
                "learnt, so that this term trains nothing; set it to 0"
            )
    left = replace(
        terms,
        paired={**terms.paired, "z_tilde": 0.0},
        marginal={**terms.marginal, "z_tilde": {}},
        identity={**terms.identity, "z": 0.0},
    )
    if not left.needs_decoder:
        raise ImgturboError(
            "objective: nothing would be trained: model.encoder is an operator, and no term "
            "depends on the decoder; give objective.paired.x_tilde a weight"
        )
    return left


def _tell_units(
    ends: Mapping[str, int | Side],
    decoder: Generator | None,
    encoder: Generator | None,
    critics: Mapping[str, nn.Module],
    terms: Terms,
) -> None:
    """Tell every network what the numbers mean that it reads and writes, where that is known."""
    sides = {space: end for space, end in ends.items() if isinstance(end, Side)}
    if len(sides) < len(ends):
        return
    for network, given, wanted in ((decoder, "z", "x"), (encoder, "x", "z")):
        if network is not None:
            network.know(sides[given], sides[wanted])
    for name, output in terms.critics.items():
        if (know := getattr(critics[name], "know", None)) is not None:
            own = SPACE[output]
            know(sides[own], sides["x" if own == "z" else "z"])


def _end(end: int | Side, images: bool, rows: bool) -> _End:
    """A latent code is a vector if the network that reads it reads ``rows``.

    Else it may be a map as well, and its critic finds out.
    """
    if isinstance(end, int):
        return _End(end, images)
    stretch = end.stretch
    scale = tuple(np.where(np.isfinite(stretch.softening), stretch.scale, 0.0).tolist())
    drawn = end.kind == "latent"
    image = end.kind == "image" if not drawn else (False if rows else None)
    return _End(len(end), image, scale, drawn)


def _check_priors(terms: Terms, ends: Ends) -> None:
    """A divergence from N(0, 1) is of a space that is drawn from it."""
    for output in OUTPUTS:
        for kind in terms.divergences(output):
            if DIVERGENCES[kind].of_normal and ends[SPACE[output]].drawn is False:
                side = "source" if SPACE[output] == "z" else "target"
                raise ImgturboError(
                    f"objective.marginal.{output}: {kind} compares with draws from N(0, 1), and "
                    f"the {side} is data; take mmd, sliced or critic, or draw the {side} "
                    "(data.source: {kind: prior})"
                )


def _unlike(ends: Ends) -> bool:
    """Whether one space is known to hold images and the other rows of numbers."""
    return {end.image for end in ends.values()} == {True, False}


def _check_critics(terms: Terms, config: Config, ends: Ends) -> None:
    """Dense critics judge rows of numbers, patch critics images."""
    model = config.model
    known = {end.image for end in ends.values()}
    if known == {model.decoder.reads_rows}:
        return  # the decoder is of the wrong kind itself, and says so when it is checked
    for output in terms.critics.values():
        own = SPACE[output]
        if terms.is_conditional(output) and (_unlike(ends) or model.decoder.other_grid):
            beside = "rows of numbers" if _unlike(ends) else "those of another grid"
            raise ImgturboError(
                f"objective.conditional: the critic of {output} cannot see images beside {beside}; "
                "set it to false"
            )
        critic, image = model.critic_of(own), ends[own].image
        if image is None or image != critic.reads_rows:
            continue
        wanted = "patchgan" if image else "mlp"
        key = "model.critic" if getattr(model.critics, own) is None else f"model.critics.{own}"
        place = f"model.critics.{own}.kind" if _unlike(ends) else "it"
        raise ImgturboError(
            f"{key}.kind is {critic.kind!r} but {own} holds "
            f"{'images' if image else 'rows of numbers'}; patch critics judge images, dense ones "
            f"rows: set {place} to {wanted!r}"
        )


def _with_possible_identity(terms: Terms, config: Config, ends: Ends) -> Terms:
    """Without the preset's identity terms where the spaces are of unlike shape.

    decoder(x) exists only if x has as many channels as z, is an image if z is one, and lies on one
    grid with it. A weight the user wrote is not dropped in silence.
    """
    z, x = ends["z"].channels, ends["x"].channels
    other_grid = config.model.decoder.other_grid
    if (z == x and not (_unlike(ends) or other_grid)) or not any(terms.identity.values()):
        return terms
    if any(config.objective.identity.values()):
        found = f"there are {z} and {x}" if z != x else "and these are an image and a row"
        if z == x and other_grid:
            found = "and of one grid, and these are of two"
        raise ImgturboError(
            f"objective.identity needs as many source bands as target bands, {found}; set its "
            "weights to 0"
        )
    return replace(terms, identity={"x": 0.0, "z": 0.0})
