"""What all sections of a config have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from imgturbo.errors import ImgturboError
from imgturbo.remote import local, writable

__all__ = ["LocalPath", "NetworkConfig", "OutPath", "Section", "TruthForNumber"]


def _accepted(accept: Callable[[Path], Path]) -> AfterValidator:
    """Of a key whose address is refused, in one line that names the key."""

    def checked(path: Path) -> Path:
        try:
            return accept(path)
        except ImgturboError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(checked)


LocalPath = Annotated[Path, _accepted(local)]
"""What is read from this machine alone."""
OutPath = Annotated[Path, _accepted(writable)]
"""A place for an output."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are checked on assignment.

    The string below a key is its description, from which the reference of all keys is made.
    """

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="forbid",
        validate_assignment=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, values: object) -> object:
        """Refuse ``lr: yes``, which YAML reads as true, and Python counts as 1."""
        if isinstance(values, dict):
            for name, field in cls.model_fields.items():
                value = values.get(field.alias or name, values.get(name))
                if _holds_truth(value) and not _admits_truth(field.annotation):
                    raise TruthForNumber(name if field.alias is None else field.alias, value)
        return values


class TruthForNumber(ValueError):
    """A key of which no truth value is wanted has one.

    Attributes:
        key, value: of the mistake.
    """

    def __init__(self, key: str, value: object) -> None:
        super().__init__(
            "YAML reads yes, no, on, off, true and false as truth values; write a number, or a "
            "text in quotes"
        )
        self.key, self.value = key, value


class NetworkConfig(Section):
    """Base of every section that describes a network which translates."""

    reads_rows: ClassVar[bool] = False  # tables of numbers, (B, C), and no images
    other_grid: ClassVar[bool] = False  # its output has more or fewer pixels than its input
    physical: ClassVar[bool] = False  # what an instrument does

    @property
    def learns(self) -> bool:
        """Whether it has weights to be trained."""
        return True

    kind: str
    """Which kind of network this is; it decides which other keys there are."""


def _holds_truth(value: object) -> bool:
    """Whether a value is true or false, or a list of such, or a mapping to such."""
    if isinstance(value, dict):
        return any(isinstance(part, bool) for part in value.values())
    if isinstance(value, list | tuple):
        return any(isinstance(part, bool) for part in value)
    return isinstance(value, bool)


def _admits_truth(annotation: Any) -> bool:
    """Whether a type is of truth values, or made of such; sections look after their own keys.

    So is one of which "no" is a member, which YAML reads as false.
    """
    if annotation in (bool, "no"):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(map(_admits_truth, get_args(annotation)))
