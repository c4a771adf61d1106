"""What all sections of a config have in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["NetworkConfig", "Section"]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are checked on assignment.

    The string below a key is its description, from which the reference of all keys is made.
    """

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class NetworkConfig(Section):
    """Base of every section that describes a network which translates."""

    reads_rows: ClassVar[bool] = False  # tables of numbers, (B, C), and no images

    kind: str
    """Which kind of network this is; it decides which other keys there are."""
