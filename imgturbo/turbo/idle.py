"""Settings of the eight terms that would stand idle, or that contradict another.

A key that a config names and nothing reads looks as if it worked. Each key here has its reader: a
critic, the divergence mmd or sliced, a paired term. What is as the schema or the preset has it
anyway may stand, and how an unused critic is made and what it remembers: a config may go without
its critics by their weight.
"""

from __future__ import annotations

from collections.abc import Iterator

from imgturbo.config import Config, CriticConfig, ObjectiveConfig
from imgturbo.errors import ImgturboError
from imgturbo.turbo.presets import PRESETS, resolve
from imgturbo.turbo.terms import OUTPUTS, Terms

__all__ = ["refuse_idle"]

_OF_CRITICS = (
    "adversarial", "conditional", "shared_critics", "gradient_penalty", "r1",
)  # fmt: skip
_BY_SIGNAL = ("l1", "l2", "charbonnier")
"""The distances that ``signal`` weighs."""
_MAKE = {("patchgan",): ("width", "layers", "scales"), ("mlp", "momenta"): ("hidden",)}
"""Keys of a critic that some kinds alone read."""


def refuse_idle(config: Config) -> None:
    """Refuse a setting that its objective would not read.

    Raises:
        ImgturboError: naming the setting, and what reads it; weights that make no objective.
    """
    terms = resolve(config.objective)
    for problem in _problems(config, terms):
        raise ImgturboError(problem)


def _problems(config: Config, terms: Terms) -> Iterator[str]:
    objective = config.objective
    if not terms.critics:
        names = [f"objective.{key}" for key in _OF_CRITICS if _asked(objective, key)]
        names += ["train.critic_lr"] if config.train.critic_lr is not None else []
        for name in names:
            yield (
                f"{name} is set, but this objective has no critic; leave it out, or give "
                "objective.marginal a weight"
            )
    if _named(objective, "mmd_scales") and not any("mmd" in terms.divergences(o) for o in OUTPUTS):
        yield "objective.mmd_scales goes with mmd, which objective.marginal has not; leave it out"
    if _asked(objective, "slices") and not any("sliced" in terms.divergences(o) for o in OUTPUTS):
        yield "objective.slices goes with sliced, which objective.marginal has not; leave it out"
    if _asked(objective, "detach") and not any(terms.divergences(o) for o in ("x_hat", "z_hat")):
        yield (
            "objective.detach goes with divergences of x_hat and z_hat, which objective.marginal "
            "has not; leave it out"
        )
    if _asked(objective, "reduction") and not any(terms.paired.values()):
        yield "objective.reduction goes with objective.paired, which has no weight; leave it out"
    idle = [output for output in objective.distance if not terms.paired[output]]
    for output in idle:
        yield (
            f"objective.distance.{output} is set, but objective.paired.{output} is 0, so that "
            "nothing is measured by it; leave it out, or give that term a weight"
        )
    used = {name for o in OUTPUTS if terms.paired[o] for name, w in terms.distance[o].items() if w}
    if objective.signal and not used.intersection(_BY_SIGNAL):
        yield (
            f"objective.signal goes with the distances {', '.join(_BY_SIGNAL)}, of which "
            "objective has none; leave it out"
        )
    yield from _problems_of_critics(config, terms)


def _problems_of_critics(config: Config, terms: Terms) -> Iterator[str]:
    objective, model, mode = config.objective, config.model, terms.adversarial
    if mode != "wgan-gp" and _named(objective, "gradient_penalty"):
        yield (
            f"objective.gradient_penalty goes with adversarial: wgan-gp, not with {mode}; leave it "
            "out (objective.r1 is a penalty for all)"
        )
    penalty = "r1" if objective.r1 else "adversarial: wgan-gp"
    penalised = objective.r1 or (mode == "wgan-gp" and objective.gradient_penalty)
    critics = {"critic": model.critic, "critics.z": model.critics.z, "critics.x": model.critics.x}
    for name, critic in critics.items():
        if critic is None:
            continue
        if penalised and critic.norm == "batch":
            yield (
                f"objective.{penalty} penalises the gradient at each sample by itself, which a "
                f"critic with batch norm has not; set model.{name}.norm to spectral, instance or "
                "none"
            )
        for kinds, keys in _MAKE.items():
            for key in keys if critic.kind not in kinds else ():
                if _named(critic, key):
                    yield (
                        f"model.{name}.{key} goes with kind {' or '.join(kinds)}, not with "
                        f"{critic.kind}; leave it out"
                    )


def _asked(objective: ObjectiveConfig, key: str) -> bool:
    """As ``_named``, of a key that the preset has not as it stands anyway."""
    own = getattr(PRESETS[objective.preset or "turbo"].terms, key)
    return _named(objective, key) and getattr(objective, key) != own


def _named(section: ObjectiveConfig | CriticConfig, key: str) -> bool:
    """Whether a key is other than the schema has it; what is nothing of the kind counts as left."""
    value = getattr(section, key)
    return bool(value != type(section).model_fields[key].get_default()) and value not in (False, 0)
