"""Simulators by their names: parameters that are drawn, and observations of them. Numpy only.

A new simulator is a module here with a :class:`Simulator`, and a line in ``SIMULATORS``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from imgturbo.errors import ImgturboError
from imgturbo.simulators.linear import Linear
from imgturbo.simulators.sheet import Sheet
from imgturbo.simulators.simulator import Simulator

__all__ = ["SIMULATORS", "Linear", "Sheet", "Simulator", "make_simulator"]

SIMULATORS: dict[str, Callable[[], Simulator]] = {
    "linear": Linear,
    "sheet": Sheet,
    "sheet_4": partial(Sheet, 4, "sheet_4"),
}
"""How each is made, by the name that ``data.source.name`` gives it."""


def make_simulator(name: str) -> Simulator:
    """The simulator of a name.

    Raises:
        ImgturboError: there is none; the nearest name is offered.
    """
    if name not in SIMULATORS:
        near = difflib.get_close_matches(name, SIMULATORS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"choose {', '.join(sorted(SIMULATORS))}"
        raise ImgturboError(f"'data.source.name': no simulator is called {name!r}; {hint}")
    return SIMULATORS[name]()
