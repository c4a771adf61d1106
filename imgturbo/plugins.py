"""Things that other packages add: generators, simulators, readers, found by their entry points.

A package says in its ``pyproject.toml`` what it brings, a group a sort of thing and a name each:

    [project.entry-points."imgturbo.simulators"]
    pendulum = "my_package.pendulum:Pendulum"

and once it is installed the name may stand wherever one of our own may. Names are read from the
metadata of installed packages, which costs milliseconds; the package is imported when its name is
asked for, and not before, so that one that is broken harms nobody who does not use it. What is
wrong with it is one line that names the package.

    Kinds("imgturbo.simulators", own, check)    one table a sort: ours, and lazily those of others
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from imgturbo.errors import ImgturboError

__all__ = [
    "GENERATORS",
    "READERS",
    "SIMULATORS",
    "Kinds",
    "added",
    "load_plugin",
    "offered",
    "refused",
]

GENERATORS, SIMULATORS, READERS = (
    f"imgturbo.{sort}" for sort in ("generators", "simulators", "readers")
)
"""The groups of entry points."""

T = TypeVar("T")


def offered(group: str) -> dict[str, str]:
    """Names that installed packages add to a group, each with whose it is; nothing is imported."""
    return {name: ", ".join(map(_package, found)) for name, found in _found(group).items()}


def added(group: str) -> str:
    """The same in words for messages that list what there is; empty where nothing is added."""
    names = [f"{name} ({package})" for name, package in offered(group).items()]
    return f"; installed packages add {', '.join(names)}" if names else ""


def load_plugin(group: str, name: str) -> Any:
    """What an entry point stands for.

    Args:
        group: one of the groups.
        name: one of :func:`offered`.

    Raises:
        ImgturboError: two packages offer it, or it cannot be imported.
    """
    found = _found(group)[name]
    if len(found) > 1:
        raise ImgturboError(
            f"{name}: the packages {' and '.join(map(_package, found))} both bring one of this "
            f"name ({group}); uninstall one of them"
        )
    try:
        return found[0].load()
    except ImgturboError:
        raise
    except Exception as error:  # whatever a stranger's module does when it is imported
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise refused(
            group, name, f"cannot be imported ({type(error).__name__}: {said})"
        ) from error


def refused(group: str, name: str, why: str) -> ImgturboError:
    """The error of a plugin that is not what it should be, which names its package."""
    return ImgturboError(
        f"{name}: what the package {offered(group).get(name, 'unknown')} brings under this name "
        f"({group}) {why}; update or uninstall it"
    )


class Kinds(MutableMapping[str, T], Generic[T]):
    """What there is of a sort, by name: our own, what was registered, and lazily what is installed.

    Args:
        group: of entry points.
        own: what travels with this package.
        made: makes an entry of what an entry point stands for, given its name; raises what
            :func:`refused` makes where it is something else.
    """

    def __init__(self, group: str, own: dict[str, T], made: Callable[[str, Any], T]) -> None:
        self.group, self._made = group, made
        self._things = dict(own)
        self._own = frozenset(own)

    def __getitem__(self, name: str) -> T:
        """The thing; a plugin is imported the first time that it is asked for.

        Raises:
            KeyError: there is none of this name.
            ImgturboError: a plugin that is broken, or bears a name that is taken.
        """
        if name in self._things:
            if name in self._own and name in _found(self.group):
                raise refused(self.group, name, "has the name of one that imgturbo has")
            return self._things[name]
        if name not in _found(self.group):
            raise KeyError(name)
        made = self._made(name, load_plugin(self.group, name))
        return self._things.setdefault(name, made)

    def __setitem__(self, name: str, thing: T) -> None:
        self._things[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._things[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._things, *_found(self.group)]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in _found(self.group)

    @property
    def loaded(self) -> dict[str, T]:
        """Those that are here already, so that looking at all of them imports nothing."""
        return dict(self._things)


@lru_cache
def _found(group: str) -> dict[str, list[EntryPoint]]:
    """Entry points by name; one of several that a package lists twice counts once."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        others = found.setdefault(point.name, [])
        if (point.value, _package(point)) not in [(o.value, _package(o)) for o in others]:
            others.append(point)
    return dict(sorted(found.items()))


def _package(point: EntryPoint) -> str:
    """Whose an entry point is, with its version."""
    whose = point.dist
    return "unknown" if whose is None else f"{whose.name} {whose.version}"
