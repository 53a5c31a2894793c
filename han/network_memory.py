"""What a hub remembers of its network, and what it may do with the one it finds on a dongle.

A dongle keeps its network over everything. A hub that meets a network which it did not form must neither
replace nor take it over unasked: it may be somebody's home. So the hub notes the network that it is about to
form before it forms it; a power cut in between leaves a note that matches. Keys are not part of the note.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum, auto
from pathlib import Path

from han.errors import SurroundingsError
from han.private_file import write_private
from ota.eui64 import Eui64

_FILE = "network.json"


@dataclass(frozen=True, slots=True)
class Network:
    """What tells one network from another; ``eui64`` is the coordinator's."""

    eui64: Eui64
    extended_pan_id: Eui64
    pan_id: int
    channel: int


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """The network that this hub forms or formed, by dongle and extended PAN id."""

    eui64: Eui64
    extended_pan_id: Eui64
    is_formed: bool

    def is_same(self, network: Network) -> bool:
        """Whether ``network`` is this one."""
        return (self.eui64, self.extended_pan_id) == (network.eui64, network.extended_pan_id)


class Step(Enum):
    """What to do with the dongle."""

    RESUME = auto()
    ADOPT = auto()
    FORM = auto()
    REPLACE = auto()
    REFUSE = auto()


def next_step(
    found: Network | None, known: KnownNetwork | None, *, adopt: bool, reform: bool
) -> tuple[Step, str]:
    """What to do, and for a refusal why and what to do next.

    Args:
        found: the network on the dongle.
        known: the network that this hub remembers.
        adopt: the user said to take over a network that is there.
        reform: the user said to replace it.
    """
    if found is None:
        if known is not None and known.is_formed and not reform:
            return Step.REFUSE, (
                "the dongle holds no network, but this hub formed one with extended PAN id"
                f" {known.extended_pan_id}: it was reset or exchanged. --reform forms a new network; the"
                " devices have to be joined again"
            )
        return Step.FORM, ""
    if reform:
        return Step.REPLACE, ""
    if known is not None and known.is_same(found):
        return Step.RESUME, ""
    if adopt:
        return Step.ADOPT, ""
    return Step.REFUSE, (
        f"the dongle {found.eui64} holds a network that this hub did not form (extended PAN id"
        f" {found.extended_pan_id}, PAN id {found.pan_id:#06x}, channel {found.channel}). --adopt takes it"
        " over, --reform replaces it by a new one"
    )


class NetworkMemory:
    """The note on the network, in a directory or, without one, only for as long as the hub runs."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._known: KnownNetwork | None = None

    def recall(self) -> KnownNetwork | None:
        """The network that this hub forms or formed.

        Raises:
            SurroundingsError: if the note is spoilt.
        """
        if self._directory is None:
            return self._known
        path = self._directory / _FILE
        try:
            note = json.loads(path.read_text())
            return KnownNetwork(
                Eui64.parse(str(note["eui64"])),
                Eui64.parse(str(note["extended_pan_id"])),
                bool(note["is_formed"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SurroundingsError(
                f"{path} cannot be read ({error}): remove it, and start with --adopt to keep the network"
            ) from error

    def note(self, known: KnownNetwork) -> None:
        """Remember this network instead of any other."""
        self._known = known
        fields = asdict(known) | {"eui64": str(known.eui64), "extended_pan_id": str(known.extended_pan_id)}
        self._write(_FILE, json.dumps(fields))

    def keep_backup(self, name: str, backup: str) -> Path | None:
        """Write a backup, which holds keys, for its owner alone; its path, if there is a directory."""
        return self._write(name, backup)

    def _write(self, name: str, text: str) -> Path | None:
        if self._directory is None:
            return None
        path = self._directory / name
        write_private(path, text)
        return path
