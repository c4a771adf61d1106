"""What goes together: a config in which everything is decided that a kind of decoder decides.

settle     of a config that is to be trained: nothing in it that would not be read
complete   of one that was trained, in which such a thing may stand
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgturbo.config import Config, ModelConfig, load_config
from imgturbo.engines.table import EIGHT_TERMS, ENGINES, OWN_KEYS, Engine
from imgturbo.errors import ImgturboError
from imgturbo.losses import IMAGE_SCORES
from imgturbo.turbo import PRESETS
from imgturbo.turbo.idle import refuse_idle

__all__ = ["complete", "load_settled", "settle"]


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
        owners = [other for other, own in ENGINES.loaded.items() if own.score == select]
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
    own = ENGINES.get(model.encoder.kind, EIGHT_TERMS)  # an operator has no engine of its own
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
    owners = [other for other, own in ENGINES.loaded.items() if preset in own.presets]
    if not owners:
        known = list(dict.fromkeys(name for own in ENGINES.loaded.values() for name in own.presets))
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
    for name, keys in OWN_KEYS.items():
        section = getattr(config, name)
        fields = type(section).model_fields
        for key in keys:
            dotted = f"{name}.{key}"
            if dotted in reads or getattr(section, key) == fields[key].get_default():
                continue
            readers = [
                own for own, engine in ENGINES.loaded.items() if dotted in (engine.reads or ())
            ]
            raise ImgturboError(
                f"{dotted} is set, but a model.decoder of kind {kind} is trained without it; leave "
                f"it out (it goes with kind {readers[0]})"
            )
