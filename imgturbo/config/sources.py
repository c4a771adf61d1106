"""Where training data come from, other than from pairs of tiles."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from imgturbo.config.section import Section

__all__ = [
    "ObservationConfig",
    "PriorConfig",
    "SimulatorConfig",
    "SourceConfig",
]


class PriorConfig(Section):
    """One side is drawn from a standard normal distribution, the other one read from tiles.

    The two are never pairs. So a decoder learns to make images, or rows of a table, out of noise.
    """

    kind: Literal["prior"] = "prior"
    """One side drawn afresh every step, the other read from the tile store."""
    side: Literal["source", "target"] = "source"
    """The side that is drawn."""
    numbers: int = Field(64, ge=1)
    """Numbers of a vector, or channels of a map."""
    shape: Literal["vector", "map"] = "vector"
    """Rows of numbers, or maps with as many pixels as the tiles have."""
    replace: bool = False
    """Whether to draw the side although the tiles hold it, which then is not read."""


class SimulatorConfig(Section):
    """Both sides are drawn by a simulator: parameters, and what is observed of them."""

    kind: Literal["simulator"] = "simulator"
    """Pairs drawn afresh every step, without any tile store."""
    name: str
    """Which simulator, such as 'linear' or 'arm'; docs/inference.md lists them."""
    options: dict[str, Any] = {}
    """The simulator's own settings, which docs/inference.md lists; left out ones are its
    defaults."""
    given: Literal["parameters", "observations"] = "parameters"
    """What the source is, the target being the other: parameters, to learn what would be observed;
    observations, to learn which parameters they came from."""
    validation: int = Field(1024, ge=1)
    """Pairs of the validation set, the same ones whatever the seed."""


class ObservationConfig(Section):
    """z is made of x by the physical encoder: model.encoder of kind operator, with its noise.

    So tiles of one side are enough, and every sample is a pair.
    """

    kind: Literal["observation"] = "observation"
    """z observed afresh every step, x read from the tile store."""
    side: Literal["source", "target"] = "target"
    """The side of the tile store that is x."""
    replace: bool = False
    """Whether to do so although the tiles hold the other side, which then is not read."""


SourceConfig = Annotated[
    PriorConfig | SimulatorConfig | ObservationConfig, Field(discriminator="kind")
]
