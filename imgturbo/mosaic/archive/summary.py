"""What came of the fields of an archive, one by one and all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ManifestSummary", "Outcome"]

_NAMED = 3  # fields of one reason that are named, where there are many


@dataclass(frozen=True)
class Outcome:
    """What came of one field; small, since it may travel between machines.

    Attributes:
        name: of the field.
        kind: ``"skipped"`` if its output was there, ``"busy"`` if another process makes it.
        reason: why it failed, or who has it.
        notes: warnings that were given, where nobody could see them.
        lines: of the log, likewise.
    """

    name: str
    kind: Literal["done", "skipped", "failed", "busy"]
    reason: str = ""
    notes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass
class ManifestSummary:
    """What came of each field, by name.

    Attributes:
        done: translated now.
        skipped: whose outputs were there, made from the same bundle with the same options.
        failed: name → reason.
        busy: name → which other process is at work on it.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    busy: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Note what came of a field."""
        if outcome.kind == "done":
            self.done.append(outcome.name)
        elif outcome.kind == "skipped":
            self.skipped.append(outcome.name)
        elif outcome.kind == "failed":
            self.failed[outcome.name] = outcome.reason
        else:
            self.busy[outcome.name] = outcome.reason

    @classmethod
    def joined(cls, summaries: Iterable[ManifestSummary]) -> ManifestSummary:
        """Of several processes; about a field, the one that made it is right."""
        total = cls()
        for one in summaries:
            total.done += one.done
            total.skipped += one.skipped
            total.failed |= one.failed
            total.busy |= one.busy
        made = set(total.done)
        total.skipped = sorted(set(total.skipped) - made, key=total.skipped.index)
        total.busy = {name: who for name, who in total.busy.items() if name not in made}
        return total

    def __str__(self) -> str:
        lines = [f"{names}: failed: {reason}" for names, reason in _grouped(self.failed)]
        lines += [f"{names}: in other hands: {who}" for names, who in _grouped(self.busy)]
        counts = f"{len(self.done)} translated, {len(self.skipped)} finished before"
        others = f", {len(self.busy)} in other hands" if self.busy else ""
        return "\n".join([*lines, f"{counts}, {len(self.failed)} failed{others}"])


def _grouped(reasons: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Names with their reason; of many fields with one and the same, the first few."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    for reason, names in groups.items():
        if len(names) <= _NAMED:
            yield from ((name, reason) for name in names)
        else:
            yield f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more", reason
