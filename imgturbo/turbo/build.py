"""From a configuration to an objective: only the networks that some term trains are made."""

from __future__ import annotations

from dataclasses import replace

from imgturbo.config import Config
from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, build_critic, build_generator
from imgturbo.turbo.objective import Objective
from imgturbo.turbo.presets import SPACE, Terms, resolve

__all__ = ["build_objective"]


def build_objective(config: Config, source_channels: int, target_channels: int) -> Objective:
    """The objective that ``config`` describes, with freshly initialised networks.

    Args:
        config: its ``model`` and ``objective`` sections are read.
        source_channels: channels of z, or columns of a table.
        target_channels: channels of x.

    Raises:
        ImgturboError: weights that make no objective (see ``presets.resolve``), identity terms
            between spaces of unlike channel counts, a dense critic on images or the reverse.
    """
    terms = _with_possible_identity(
        resolve(config.objective), config, source_channels, target_channels
    )
    model = config.model
    if terms.critics and model.decoder.reads_rows != model.critic.reads_rows:
        raise ImgturboError(
            f"model.critic.kind is {model.critic.kind!r} beside a decoder of kind "
            f"{model.decoder.kind!r}; dense networks go with dense ones, set it to "
            f"{'mlp' if model.decoder.reads_rows else 'patchgan'!r}"
        )
    channels = {"z": source_channels, "x": target_channels}
    encoder = None
    if terms.needs_encoder:
        encoder = build_generator(
            model.encoder or model.decoder,
            in_channels=target_channels,
            out_channels=source_channels,
        )
    decoder = None
    if terms.needs_decoder:
        decoder = build_generator(
            model.decoder, in_channels=source_channels, out_channels=target_channels
        )
    critics = {}
    for name, output in terms.critics.items():
        space = SPACE[output]
        other = channels["z" if space == "x" else "x"]
        critics[name] = build_critic(
            model.critic, channels[space], other if terms.is_conditional(output) else 0
        )
    return Objective(encoder, decoder, critics, terms, FreshNoise())


def _with_possible_identity(
    terms: Terms, config: Config, source_channels: int, target_channels: int
) -> Terms:
    """Without the preset's identity terms where the spaces have unlike channel counts.

    decoder(x) exists only if x has as many channels as z. A weight the user wrote is not dropped
    in silence.
    """
    if source_channels == target_channels or not any(terms.identity.values()):
        return terms
    if any(config.objective.identity.values()):
        raise ImgturboError(
            f"objective.identity needs as many source bands as target bands, there are "
            f"{source_channels} and {target_channels}; set its weights to 0"
        )
    return replace(terms, identity={"x": 0.0, "z": 0.0})
