"""The commands of the application support layer (Zigbee specification, 4.4.10).

They are the payload of an APS command frame.

They carry keys between the Trust Centre and devices. No key shows in a ``repr``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Final, Self

from han.sim.wire.errors import WireError
from han.sim.wire.reader import Reader
from ota.eui64 import Eui64


class KeyType(IntEnum):
    """What kind of key a command is about (4.4.10.1.1; for Request-Key 4.4.10.4.1)."""

    STANDARD_NETWORK = 0x01
    APPLICATION_LINK_REQUESTED = 0x02  # in Request-Key only
    APPLICATION_LINK = 0x03
    TRUST_CENTRE_LINK = 0x04


@dataclass(frozen=True, slots=True)
class TransportNetworkKey:
    """Transport-Key with a network key (4.4.10.1.3.2)."""

    COMMAND_ID: ClassVar[int] = 0x05
    key: bytes = field(repr=False)
    key_sequence: int
    destination: Eui64
    source: Eui64

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return (
            bytes((self.COMMAND_ID, KeyType.STANDARD_NETWORK))
            + _key(self.key)
            + bytes((self.key_sequence,))
            + self.destination.wire
            + self.source.wire
        )


@dataclass(frozen=True, slots=True)
class TransportTrustCentreLinkKey:
    """Transport-Key with a new link key to the Trust Centre (4.4.10.1.3.1)."""

    COMMAND_ID: ClassVar[int] = 0x05
    key: bytes = field(repr=False)
    destination: Eui64
    source: Eui64

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return (
            bytes((self.COMMAND_ID, KeyType.TRUST_CENTRE_LINK))
            + _key(self.key)
            + self.destination.wire
            + self.source.wire
        )


@dataclass(frozen=True, slots=True)
class TransportApplicationLinkKey:
    """Transport-Key with a link key to another device (4.4.10.1.3.3)."""

    COMMAND_ID: ClassVar[int] = 0x05
    key: bytes = field(repr=False)
    partner: Eui64
    initiator: bool

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return (
            bytes((self.COMMAND_ID, KeyType.APPLICATION_LINK))
            + _key(self.key)
            + self.partner.wire
            + bytes((self.initiator,))
        )


TransportKey = TransportNetworkKey | TransportTrustCentreLinkKey | TransportApplicationLinkKey


class JoinStatus(IntEnum):
    """How a device came or went, in Update-Device (4.4.10.2.3)."""

    SECURED_REJOIN = 0x00
    UNSECURED_JOIN = 0x01
    LEFT = 0x02
    TRUST_CENTRE_REJOIN = 0x03


@dataclass(frozen=True, slots=True)
class UpdateDevice:
    """A router tells the Trust Centre of a device that came or went (4.4.10.2)."""

    COMMAND_ID: ClassVar[int] = 0x06
    device: Eui64
    network_address: int
    status: int

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return struct.pack("<BQHB", self.COMMAND_ID, self.device, self.network_address, self.status)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.eui64(), reader.u16(), reader.u8())


@dataclass(frozen=True, slots=True)
class RemoveDevice:
    """The Trust Centre tells a router to send a child away (4.4.10.3)."""

    COMMAND_ID: ClassVar[int] = 0x07
    target: Eui64

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID,)) + self.target.wire

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.eui64())


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A device asks the Trust Centre for a link key.

    ``partner`` only for an application link key (4.4.10.4).
    """

    COMMAND_ID: ClassVar[int] = 0x08
    key_type: int
    partner: Eui64 | None = None

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.key_type)) + (
            self.partner.wire if self.partner is not None else b""
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        key_type = reader.u8()
        return cls(key_type, reader.eui64() if key_type == KeyType.APPLICATION_LINK_REQUESTED else None)


@dataclass(frozen=True, slots=True)
class SwitchKey:
    """From now on use the network key with this sequence number (4.4.10.5)."""

    COMMAND_ID: ClassVar[int] = 0x09
    key_sequence: int

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.key_sequence))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8())


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The Trust Centre hands a router a sealed APS frame for a child that has no network key yet (4.4.10.6).

    ``frame`` is that whole APS frame: header, auxiliary header, sealed payload and MIC.
    """

    COMMAND_ID: ClassVar[int] = 0x0E
    destination: Eui64
    frame: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID,)) + self.destination.wire + self.frame

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.eui64(), reader.rest())


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A device proves that it holds its new link key (4.4.10.7).

    ``proof`` is ``mmo.verify_hash`` of that key.
    """

    COMMAND_ID: ClassVar[int] = 0x0F
    key_type: int
    source: Eui64
    proof: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.key_type)) + self.source.wire + _key(self.proof)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8(), reader.eui64(), reader.octets(16))


@dataclass(frozen=True, slots=True)
class ConfirmKey:
    """The Trust Centre's answer; status 0 is success (4.4.10.8)."""

    COMMAND_ID: ClassVar[int] = 0x10
    status: int
    key_type: int
    destination: Eui64

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.COMMAND_ID, self.status, self.key_type)) + self.destination.wire

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read what follows the command's id."""
        return cls(reader.u8(), reader.u8(), reader.eui64())


@dataclass(frozen=True, slots=True)
class UnknownCommand:
    """An APS command that is not modelled; its octets are kept, but not shown."""

    command_id: int
    payload: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The command with its id."""
        return bytes((self.command_id,)) + self.payload


_Known = UpdateDevice | RemoveDevice | RequestKey | SwitchKey | Tunnel | VerifyKey | ConfirmKey
ApsCommand = TransportKey | _Known | UnknownCommand

_COMMANDS: Final[dict[int, type[_Known]]] = {
    command.COMMAND_ID: command
    for command in (UpdateDevice, RemoveDevice, RequestKey, SwitchKey, Tunnel, VerifyKey, ConfirmKey)
}


def parse_command(payload: bytes) -> ApsCommand:
    """Read the plain payload of an APS command frame.

    Raises:
        WireError: if it is cut.
    """
    if not payload:
        raise WireError("an APS command has at least its id")
    reader = Reader(payload)
    command_id = reader.u8()
    if command_id == TransportNetworkKey.COMMAND_ID:
        return _read_transport_key(reader)
    command = _COMMANDS.get(command_id)
    return command.read(reader) if command else UnknownCommand(command_id, reader.rest())


def _read_transport_key(reader: Reader) -> TransportKey | UnknownCommand:
    key_type = reader.u8()
    if key_type == KeyType.STANDARD_NETWORK:
        return TransportNetworkKey(reader.octets(16), reader.u8(), reader.eui64(), reader.eui64())
    if key_type == KeyType.TRUST_CENTRE_LINK:
        return TransportTrustCentreLinkKey(reader.octets(16), reader.eui64(), reader.eui64())
    if key_type == KeyType.APPLICATION_LINK:
        return TransportApplicationLinkKey(reader.octets(16), reader.eui64(), reader.u8() != 0)
    return UnknownCommand(TransportNetworkKey.COMMAND_ID, bytes((key_type,)) + reader.rest())


def _key(octets: bytes) -> bytes:
    if len(octets) != 16:
        raise ValueError(f"a Zigbee key has 16 octets, not {len(octets)}")
    return octets
