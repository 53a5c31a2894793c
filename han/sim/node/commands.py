"""The commands by which keys and membership travel: sealed here, opened here, acted on elsewhere.

A network key on its way to a joiner is sealed under a key derived from the joiner's link key, and outside
network security, because the joiner has no network key yet. Everything else goes under the network key.
"""

from __future__ import annotations

from collections.abc import Callable

from han.security.mmo import load_key, transport_key
from han.sim.node.aps import Aps
from han.sim.node.station import Station
from han.sim.node.store import COUNTER_END, LinkKey
from han.sim.wire.aps import ApsAuxiliary, ApsFrame, FrameType, open_frame, seal
from han.sim.wire.aps_commands import ApsCommand, parse_command
from han.sim.wire.errors import WireError
from han.sim.wire.nwk import NwkFrame
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

OnCommand = Callable[[ApsCommand, int, bool, bool], object]
"""Called with the command, its sender's short address, whether the network key and whether a link key
sealed it."""

_DERIVED: dict[KeyIdentifier, Callable[[bytes], bytes]] = {
    KeyIdentifier.DATA: lambda link: link,
    KeyIdentifier.KEY_TRANSPORT: transport_key,
    KeyIdentifier.KEY_LOAD: load_key,
}


class ApsCommands:
    """Sends and receives APS commands. ``joining_key`` is our link key while we wait for the network key."""

    def __init__(self, station: Station, aps: Aps, on_command: OnCommand) -> None:
        self._station = station
        self._aps = aps
        self._on_command = on_command
        self.joining_key: LinkKey | None = None

    def sealed(self, command: ApsCommand, link_key: bytes, identifier: KeyIdentifier) -> bytes:
        """The APS frame that carries ``command`` under a key derived from ``link_key`` and names us."""
        frame = ApsFrame(FrameType.COMMAND, self._aps.next_counter(), payload=command.to_bytes())
        return seal(
            frame,
            _DERIVED[identifier](link_key),
            self._station.store.link_counter.take(),
            self._station.eui64,
            key_identifier=identifier,
            extended_nonce=True,
        )

    def plain(self, command: ApsCommand) -> bytes:
        """The APS frame that carries ``command`` without a seal of its own."""
        return ApsFrame(FrameType.COMMAND, self._aps.next_counter(), payload=command.to_bytes()).to_bytes()

    def send(
        self,
        destination: int,
        octets: bytes,
        *,
        network_secured: bool,
        on_done: Callable[[bool], object] | None = None,
    ) -> None:
        """Send an APS frame made by ``sealed`` or ``plain``; ``on_done(ok)`` once the next hop has it."""
        self._aps.send_command(destination, octets, on_done or _ignore, secured=network_secured)

    def receive(self, frame: ApsFrame, nwk_frame: NwkFrame, sealer: Eui64 | None, octets: bytes) -> None:
        """An APS command arrived, still sealed if it is."""
        try:
            if frame.security:
                opened = self._open(frame, octets, nwk_frame.source_ieee or sealer, nwk_frame.source)
                if opened is None:
                    return
                frame_plain = opened
            else:
                frame_plain = frame
            command = parse_command(frame_plain.payload)
        except WireError as error:
            self._station.drop("aps", str(error), source=nwk_frame.source)
            return
        self._on_command(command, nwk_frame.source, sealer is not None, frame.security)

    def _open(self, frame: ApsFrame, octets: bytes, sender: Eui64 | None, source: int) -> ApsFrame | None:
        auxiliary = ApsAuxiliary.parse(frame.payload)
        derive = _DERIVED.get(auxiliary.key_identifier)
        sender = auxiliary.source or sender
        entry = self.joining_key
        if entry is None and sender is not None:
            entry = self._station.store.link_keys.get(sender)
        if derive is None or entry is None:
            self._station.drop("aps", "a command under a key that we do not share", source=source)
            return None
        if auxiliary.counter < entry.heard or auxiliary.counter == COUNTER_END:
            self._station.counters.aps_frame_counter_failure += 1
            self._station.drop("aps", "replayed counter", source=source, counter=auxiliary.counter)
            return None
        try:
            opened, _ = open_frame(octets, derive(entry.key), sender, frame)
        except WireError:
            self._station.counters.aps_decryption_failure += 1
            raise
        entry.heard = auxiliary.counter + 1
        return opened


def _ignore(ok: bool) -> None:  # noqa: FBT001 - the shape of an OnDone
    """Whoever missed a command asks again: a joiner by joining again."""
