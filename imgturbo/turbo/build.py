"""From a configuration to an objective: only the networks that some term trains are made."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, build_critic, build_generator
from imgturbo.nets.operators import observer
from imgturbo.side import Side
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.presets import resolve
from imgturbo.turbo.terms import SPACE, Terms

__all__ = ["build_objective"]


class _End(NamedTuple):
    """What is known of a space.

    Its channels; whether it holds images, None: may be either; the scales of its stretch, 0 for
    a linear one, None: not known.
    """

    channels: int
    image: bool | None
    scale: tuple[float, ...] | None = None


Ends = dict[str, _End]


def build_objective(config: Config, source: int | Side, target: int | Side) -> Objective:
    """The objective that ``config`` describes, with freshly initialised networks.

    Args:
        config: its ``model`` and ``objective`` sections are read.
        source: what z is; or its number of channels (of columns), where both spaces hold images
            or both hold rows of numbers, as the kind of the decoder says.
        target: the same of x.

    Raises:
        ImgturboError: weights that make no objective (see ``presets.resolve``), identity terms or
            conditional critics between spaces of unlike shape, a dense critic on images or the
            reverse.
    """
    model = config.model
    images = not model.decoder.reads_rows
    ends = {"z": _end(source, images), "x": _end(target, images)}
    terms = _with_possible_identity(resolve(config.objective), config, ends)
    terms = _without_idle(terms, config)
    _check_critics(terms, config, ends)
    z, x = ends["z"].channels, ends["x"].channels
    encoder = None
    if terms.needs_encoder or (model.encoder is not None and model.encoder.physical):
        encoder = build_generator(model.encoder or model.decoder, x, z)
        if (instrument := observer(encoder)) is not None:
            instrument.operator.read_files()
    decoder = build_generator(model.decoder, z, x) if terms.needs_decoder else None
    critics = {}
    for name, output in terms.critics.items():
        own = SPACE[output]
        beside = ends["x" if own == "z" else "z"].channels if terms.is_conditional(output) else 0
        critics[name] = build_critic(model.critic_of(own), ends[own].channels, beside)
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


def _end(end: int | Side, images: bool) -> _End:
    if isinstance(end, int):
        return _End(end, images)
    # A latent code may be a vector or a map: its critic finds out.
    stretch = end.stretch
    scale = tuple(np.where(np.isfinite(stretch.softening), stretch.scale, 0.0).tolist())
    return _End(len(end), None if end.kind == "latent" else end.kind == "image", scale)


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
        if terms.is_conditional(output) and _unlike(ends):
            raise ImgturboError(
                f"objective.conditional: the critic of {output} cannot see images beside rows of "
                "numbers; set it to false"
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

    decoder(x) exists only if x has as many channels as z, and is an image if z is one. A weight the
    user wrote is not dropped in silence.
    """
    z, x = ends["z"].channels, ends["x"].channels
    if (z == x and not _unlike(ends)) or not any(terms.identity.values()):
        return terms
    if any(config.objective.identity.values()):
        found = f"there are {z} and {x}" if z != x else "and these are an image and a row"
        raise ImgturboError(
            f"objective.identity needs as many source bands as target bands, {found}; set its "
            "weights to 0"
        )
    return replace(terms, identity={"x": 0.0, "z": 0.0})
