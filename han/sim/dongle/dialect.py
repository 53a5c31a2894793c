"""One EZSP version's way of writing the commands that need no speed.

The tables of command ids and fields come from bellows: every one of them has been held against real dongles.
What the tables mean is decided here and in the command files, and golden octets from real dongles guard
against mistakes that both ends would share. Three things the tables get wrong or cannot say are dealt with by
hand: the cluster lists of addEndpoint, the counters, and the answer of getTokenData.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import bellows.types as t

from han.sim.dongle.errors import OurError, Refused
from han.sim.dongle.statuses import Status
from han.sim.dongle.versions import RELEASES, WIDE_STATUSES
from ota.eui64 import Eui64

Fields = Mapping[str, Any]
Handler = Callable[[Fields], Fields]

_STATUS_BY_NAME: Final = "status"
# Hosts differ in whether they send these trailing fields, and real firmware takes both.
_OPTIONAL: Final = {
    "importTransientKey": ("flags",),
    "addEndpoint": ("inputClusterList", "outputClusterList"),
}


class Command(NamedTuple):
    """A command the firmware knows: parameters in, parameters of the answer out. May raise Refused."""

    name: str
    execute: Callable[[bytes], bytes]


class Dialect:
    """How EZSP ``version`` (one of `versions.VERSIONS`) writes commands, answers and callbacks.

    Raises:
        OurError: if no firmware speaks this version.
    """

    def __init__(self, version: int) -> None:
        if version not in RELEASES:
            raise OurError(f"no firmware speaks EZSP {version}: choose one of {sorted(RELEASES)}")
        self.version = version
        tables = import_module(f"bellows.ezsp.v{version}.commands")
        self._table: dict[str, tuple[int, Any, Any]] = tables.COMMANDS

    def knows(self, name: str) -> bool:
        """Whether the version has this command or callback."""
        return name in self._table

    def id_of(self, name: str) -> int:
        """The frame id of a command or callback."""
        return self._table[name][0]

    def commands(self, handlers: Mapping[str, Handler]) -> dict[str, Command]:
        """By name, each of these commands that the version has."""
        return {name: self.command(name, handler) for name, handler in handlers.items() if self.knows(name)}

    def command(self, name: str, handler: Handler) -> Command:
        """A command that reads its fields, calls ``handler`` and writes the fields that come back."""
        _, request, answer = self._table[name]
        optional = _OPTIONAL.get(name, ())

        def execute(parameters: bytes) -> bytes:
            return self._written(answer, handler(_read(request, parameters, optional)))

        return Command(name, execute)

    def refusal(self, name: str, refused: Refused) -> bytes | None:
        """The answer to ``name`` with just the status, other fields zero; None if it has no status."""
        answer = self._table[name][2]
        if not isinstance(answer, dict) or _STATUS_BY_NAME not in answer:
            return None
        written = bytearray()
        for field, kind in answer.items():
            if field == _STATUS_BY_NAME:
                written += _written_status(kind, refused.status)
            else:
                written += _zero(kind)
        return bytes(written)

    def callback(self, name: str, fields: Fields) -> tuple[int, bytes]:
        """Frame id and parameters of a callback."""
        frame_id, _, layout = self._table[name]
        return frame_id, self._written(layout, fields)

    def status(self, status: Status) -> bytes:
        """How ``invalidCommand`` says why."""
        return _written_status(t.sl_Status if self.version >= WIDE_STATUSES else t.EzspStatus, status)

    def _written(self, layout: Any, fields: Fields) -> bytes:  # noqa: ANN401 - bellows' tables are untyped
        if not isinstance(layout, dict):
            return self._written_token(fields)
        return b"".join(_written_field(kind, fields[field]) for field, kind in layout.items())

    def _written_token(self, fields: Fields) -> bytes:
        """The value is there only with an OK."""
        status: Status = fields[_STATUS_BY_NAME]
        octets = _written_status(t.sl_Status if self.version >= WIDE_STATUSES else t.EmberStatus, status)
        if status is Status.OK:
            octets += len(fields["value"]).to_bytes(4, "little") + fields["value"]
        return octets


def _read(layout: dict[str, Any], parameters: bytes, optional: tuple[str, ...]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    rest = parameters
    for field, kind in layout.items():
        if field in optional:
            fields[field] = rest
            continue
        try:
            fields[field], rest = kind.deserialize(rest)
        except ValueError as error:
            raise Refused(Status.TRUNCATED, f"no room for {field}: {error}") from error
    return fields


def _written_field(kind: Any, value: Any) -> bytes:  # noqa: ANN401 - bellows' types are untyped
    if isinstance(value, Status):
        return _written_status(kind, value)
    if isinstance(value, Eui64):
        return value.wire
    if isinstance(value, bytes):
        if issubclass(kind, t.LVBytes):
            return bytes((len(value),)) + value
        return value
    octets: bytes = kind(value).serialize()
    return octets


def _written_status(kind: Any, status: Status) -> bytes:  # noqa: ANN401 - see above
    if kind is t.sl_Status:
        return status.sl.to_bytes(4, "little")
    return bytes((status.ezsp if kind is t.EzspStatus else status.ember,))


def _zero(kind: Any) -> bytes:  # noqa: ANN401 - see above
    """As many zero octets as a field of this kind has at the least."""
    for size in range(64):
        try:
            kind.deserialize(bytes(size))
        except ValueError:
            continue
        return bytes(size)
    raise OurError(f"no zero is known for {kind.__name__}")


def eui64_of(value: Any) -> Eui64:  # noqa: ANN401 - bellows' EUI64
    """Our address from bellows' list of octets."""
    return Eui64.from_wire(value.serialize())


def octets_of(value: Any) -> bytes:  # noqa: ANN401 - bellows' KeyData and structures
    """The octets behind any of bellows' values."""
    octets: bytes = value.serialize()
    return octets
