"""Where two upgrade files differ: field by field, and octet range by octet range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ota.anatomy import Part

_STEP = 256
_NEAR = 16
"""Differences closer together than this count as one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A part that the files do not have in common: what it says in each, None where one lacks it."""

    name: str
    first: str | None
    second: str | None


@dataclass(frozen=True, slots=True)
class OctetRange:
    """Octets that differ, or that only one file has: from ``start`` up to before ``stop``."""

    start: int
    stop: int


def differences(first: list[Part], second: list[Part]) -> list[Difference]:
    """The parts that differ, in the order of the first file; those that only the second has come last."""
    ours, theirs = ({part.name: part.value for part in parts} for parts in (first, second))
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [
        Difference(name, ours.get(name), theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]


def octet_ranges(first: bytes, second: bytes) -> Iterator[OctetRange]:
    """The octets that differ, in order, near ones taken together."""
    pending: OctetRange | None = None
    for found in _ranges(first, second):
        if pending is not None and found.start - pending.stop < _NEAR:
            pending = OctetRange(pending.start, found.stop)
            continue
        if pending is not None:
            yield pending
        pending = found
    if pending is not None:
        yield pending


def _ranges(first: bytes, second: bytes) -> Iterator[OctetRange]:
    shared = min(len(first), len(second))
    for at in range(0, shared, _STEP):
        # Most of two files is the same: whole pieces are compared first, octets only where they differ.
        ours, theirs = first[at : min(at + _STEP, shared)], second[at : min(at + _STEP, shared)]
        if ours != theirs:
            for offset, (one, other) in enumerate(zip(ours, theirs, strict=True), at):
                if one != other:
                    yield OctetRange(offset, offset + 1)
    if len(first) != len(second):
        yield OctetRange(shared, max(len(first), len(second)))
