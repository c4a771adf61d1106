"""Simulators by their names: parameters that are drawn, and observations of them. Numpy only.

A new simulator is a module here with a :class:`Simulator`, and a line in ``SIMULATORS``; or a
package of its own, with an entry point of the group ``imgturbo.simulators``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from imgturbo import plugins
from imgturbo.config import section_of
from imgturbo.errors import ImgturboError
from imgturbo.simulators.arm import Arm
from imgturbo.simulators.ballistics import Ballistics
from imgturbo.simulators.epidemic import Epidemic
from imgturbo.simulators.linear import Linear
from imgturbo.simulators.mixture import Mixture
from imgturbo.simulators.sheet import Sheet
from imgturbo.simulators.simulator import Simulator
from imgturbo.simulators.stars import Stars
from imgturbo.simulators.tissue import Tissue

__all__ = [
    "COMMAND_KEYS",
    "CONFIG_KEYS",
    "SIMULATORS",
    "Arm",
    "Ballistics",
    "Epidemic",
    "Linear",
    "Mixture",
    "Sheet",
    "Simulator",
    "Stars",
    "Tissue",
    "make_simulator",
]


def _of_a_package(name: str, thing: object) -> type[Simulator]:
    """What an entry point brings, if it is a simulator of this name."""
    if not (isinstance(thing, type) and issubclass(thing, Simulator)):
        why = f"is no class of a Simulator but {type(thing).__name__}"
        raise plugins.refused(plugins.SIMULATORS, name, why)
    if getattr(thing, "name", None) != name:
        why = f"calls itself {getattr(thing, 'name', None)!r}"
        raise plugins.refused(plugins.SIMULATORS, name, why)
    return thing


SIMULATORS: plugins.Kinds[type[Simulator]] = plugins.Kinds(
    plugins.SIMULATORS,
    {one.name: one for one in (Linear, Sheet, Mixture, Arm, Ballistics, Tissue, Epidemic, Stars)},
    _of_a_package,
)
"""The class of each, by the name that ``data.source.name`` gives it; packages may add more."""

CONFIG_KEYS = "'data.source.name'", "'data.source.options'"
"""Where a config names a simulator, and its options."""

COMMAND_KEYS = "--problem", "--option"
"""Where the command line does."""


def make_simulator(
    name: str, options: Mapping[str, Any] | None = None, keys: tuple[str, str] = CONFIG_KEYS
) -> Simulator:
    """The simulator of a name.

    Args:
        name: one of ``SIMULATORS``.
        options: keys of its ``Options``; left out ones are the defaults.
        keys: where a user has written the name and the options; error messages say it.

    Raises:
        ImgturboError: there is none of this name, or no such option; the nearest name is offered.
            Or one that a package brings is broken.
    """
    if name not in SIMULATORS:
        near = difflib.get_close_matches(name, SIMULATORS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"choose {', '.join(sorted(SIMULATORS))}"
        more = plugins.added(plugins.SIMULATORS)
        raise ImgturboError(f"{keys[0]}: no simulator is called {name!r}; {hint}{more}")
    kind = SIMULATORS[name]
    section = section_of(kind.Options, options or {}, f"{keys[1]} of the simulator {name}")
    return kind(**section.model_dump(exclude_unset=True))
