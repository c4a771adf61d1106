"""The family as a table: which terms each preset has, measured how, between which spaces.

A term is written as its measure of its output, ``100 l1(x̃)`` or ``critic(x̃)``, and what stands in
one cell is added up. Only what a preset has is listed, so that two rows may be compared at a look.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from imgturbo.errors import ImgturboError
from imgturbo.turbo.family import Preset
from imgturbo.turbo.presets import PRESETS
from imgturbo.turbo.terms import OUTPUTS, Terms

__all__ = ["Row", "as_markdown", "as_text", "described", "require", "rows"]

_SIGN = {"z_tilde": "z̃", "x_hat": "x̂", "x_tilde": "x̃", "z_hat": "ẑ"}


class Row(NamedTuple):
    """One preset in words, a column an attribute.

    Attributes:
        name: what ``objective.preset`` calls it.
        paired, marginal: its Ls and its Ds.
        options: what else it decides.
        z, x: what the spaces hold.
        paper: where it is from.
    """

    name: str
    paired: str
    marginal: str
    options: str
    z: str
    x: str
    paper: str


def rows() -> list[Row]:
    """All presets of the eight terms."""
    return [_row(name, preset) for name, preset in PRESETS.items()]


def _row(name: str, preset: Preset) -> Row:
    terms = preset.terms
    paired = {
        output: {kind: terms.paired[output] * w for kind, w in terms.distance[output].items()}
        for output in OUTPUTS
        if terms.paired[output]
    }
    marginal = {output: terms.divergences(output) for output in OUTPUTS}
    options = ", ".join(_options(terms, preset.critic_steps))
    return Row(name, _sum(paired), _sum(marginal), options, preset.z, preset.x, preset.paper)


def _sum(mixes: Mapping[str, Mapping[str, float]]) -> str:
    parts = (
        f"{'' if weight == 1 else f'{weight:g} '}{kind}({_SIGN[output]})"
        for output, mix in mixes.items()
        for kind, weight in mix.items()
        if weight
    )
    return " + ".join(parts)


def _options(terms: Terms, critic_steps: int) -> Iterator[str]:
    if terms.critics:
        yield terms.adversarial
    if terms.conditional:
        yield "conditional"
    if terms.shared_critics:
        yield "one critic a space"
    if terms.pool:
        yield f"pool {terms.pool}"
    if terms.critics and terms.adversarial == "wgan-gp":
        yield f"λ {terms.gradient_penalty:g}"
    if terms.r1:
        yield f"r1 {terms.r1:g}"
    if critic_steps > 1:
        yield f"{critic_steps} critic steps"
    if any(terms.identity.values()):
        yield f"identity {terms.identity['x']:g} + {terms.identity['z']:g}"
    if terms.reduction == "sum":
        yield "L summed over a sample"
    if terms.detach:
        yield "Ds of hats train the last map alone"


_HEADINGS = ("preset", "paired terms L", "marginal terms D", "options", "z", "x", "paper")


def as_markdown() -> str:
    """The table of docs/family.md."""
    lines = [_HEADINGS, tuple("---" for _ in _HEADINGS)]
    lines += [(f"`{row.name}`", *(cell or "–" for cell in row[1:])) for row in rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_text(width: int) -> str:
    """The presets for a terminal: a name, and below it what it is, no wider than ``width``."""
    blocks = []
    for row in rows():
        what = [
            f"{heading}: {cell}"
            for heading, cell in zip(("L", "D", "with"), row[1:4], strict=True)
            if cell
        ]
        spaces = f"z: {row.z}; x: {row.x}" + (f"; {row.paper}" if row.paper else "")
        filled = [
            textwrap.fill(part, width, initial_indent="    ", subsequent_indent="      ")
            for part in ("   ".join(what), spaces)
            if part
        ]
        blocks.append("\n".join([row.name, *filled]))
    return "\n".join(blocks)


def require(name: str) -> None:
    """Refuse a name of no preset.

    Raises:
        ImgturboError: there is none of that name; the nearest one.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "'imgturbo presets' lists them"
        raise ImgturboError(f"there is no preset {name!r}; {hint}")


def described(name: str, width: int) -> str:
    """One preset in full: its row, and which terms it has and why.

    Raises:
        ImgturboError: there is none of that name.
    """
    require(name)
    row, preset = _row(name, PRESETS[name]), PRESETS[name]
    facts = [f"{heading:18}{cell or '–'}" for heading, cell in zip(_HEADINGS, row, strict=True)]
    about = textwrap.fill(" ".join(preset.about.split()), width)
    return "\n".join([*facts, "", about])
