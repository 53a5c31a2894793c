"""The EZSP frames of the hot path, by hand: sending a unicast, its answer, its end, and what comes in.

An image block costs one of each, so they are packed and unpacked with `struct` alone. Both layouts that
exist are here: that of EZSP 4 to 13 and that of 14 and newer, where statuses take four octets and tags two.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, Protocol, Self

from han.sim.dongle.errors import Refused
from han.sim.dongle.statuses import Status
from han.sim.dongle.versions import WIDE_STATUSES
from ota.eui64 import Eui64

SEND_UNICAST: Final = 0x0034
SEND_BROADCAST: Final = 0x0036
SEND_MULTICAST: Final = 0x0038
SEND_REPLY: Final = 0x0039
MESSAGE_SENT_HANDLER: Final = 0x003F
INCOMING_MESSAGE_HANDLER: Final = 0x0045

OPTION_ENCRYPTION: Final = 0x0020
OPTION_RETRY: Final = 0x0040
OPTION_ROUTE_DISCOVERY: Final = 0x0100
OPTION_SOURCE_EUI64: Final = 0x0400
OPTION_ZDO_RESPONSE_REQUIRED: Final = 0x4000
OPTION_FRAGMENT: Final = 0x8000

OUTGOING_DIRECT: Final = 0
OUTGOING_MULTICAST: Final = 3
OUTGOING_BROADCAST: Final = 6

INCOMING_UNICAST: Final = 0
INCOMING_MULTICAST: Final = 2
INCOMING_MULTICAST_LOOPBACK: Final = 3
INCOMING_BROADCAST: Final = 4
INCOMING_BROADCAST_LOOPBACK: Final = 5

NO_INDEX: Final = 0xFF

_APS = Struct("<HHBBHHB")


class ApsFrame(NamedTuple):
    """EmberApsFrame: what the host says and hears about the APS header."""

    profile: int
    cluster: int
    source_endpoint: int
    destination_endpoint: int
    options: int
    group: int
    sequence: int

    def to_bytes(self) -> bytes:
        """The eleven octets of an EmberApsFrame."""
        return _APS.pack(*self)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read the eleven octets."""
        return cls(*_APS.unpack(octets))


class Outgoing(NamedTuple):
    """A send command of the host, in any version's layout."""

    kind: int
    destination: int
    aps: ApsFrame
    tag: int
    radius: int
    payload: bytes


class Incoming(NamedTuple):
    """An incoming message as the host will hear of it."""

    kind: int
    aps: ApsFrame
    sender: int
    sender_eui64: Eui64 | None
    lqi: int
    rssi: int
    timestamp: int
    payload: bytes
    trailer: bytes


class Layout(Protocol):
    """How one generation of EZSP writes the frames of the data path."""

    def parse_unicast(self, parameters: bytes) -> Outgoing:
        """Read sendUnicast. Raises Refused."""
        ...

    def parse_broadcast(self, parameters: bytes) -> Outgoing:
        """Read sendBroadcast. Raises Refused."""
        ...

    def parse_multicast(self, parameters: bytes) -> Outgoing:
        """Read sendMulticast. Raises Refused."""
        ...

    def send_answer(self, status: Status, sequence: int) -> bytes:
        """The answer to any of the three."""
        ...

    def message_sent(self, outgoing: Outgoing, sequence: int, status: Status, payload: bytes) -> bytes:
        """MessageSentHandler."""
        ...

    def incoming_message(self, incoming: Incoming) -> bytes:
        """IncomingMessageHandler."""
        ...


def _payload(parameters: bytes, at: int) -> bytes:
    """A length octet and that many octets behind it; they end the command."""
    if len(parameters) <= at or len(parameters) < at + 1 + parameters[at]:
        raise Refused(Status.TRUNCATED, "the message is shorter than its length octet says")
    return parameters[at + 1 : at + 1 + parameters[at]]


def _need(parameters: bytes, size: int) -> None:
    if len(parameters) < size:
        raise Refused(Status.TRUNCATED, f"{len(parameters)} octets of parameters where {size} are needed")


class Layout13:
    """EZSP 4 to 13: one-octet statuses and tags."""

    _unicast = Struct("<BHHHBBHHBB")
    _broadcast = Struct("<HHHBBHHBBB")
    _multicast = Struct("<HHBBHHBBBB")
    _sent = Struct("<BHHHBBHHBBBB")
    _incoming = Struct("<BHHBBHHBBbHBBB")

    def parse_unicast(self, parameters: bytes) -> Outgoing:
        """Read sendUnicast. Raises Refused."""
        _need(parameters, 16)
        kind, destination, *aps, tag = self._unicast.unpack_from(parameters)
        return Outgoing(kind, destination, ApsFrame(*aps), tag, 0, _payload(parameters, 15))

    def parse_broadcast(self, parameters: bytes) -> Outgoing:
        """Read sendBroadcast. Raises Refused."""
        _need(parameters, 16)
        destination, *aps, radius, tag = self._broadcast.unpack_from(parameters)
        payload = _payload(parameters, 15)
        return Outgoing(OUTGOING_BROADCAST, destination, ApsFrame(*aps), tag, radius, payload)

    def parse_multicast(self, parameters: bytes) -> Outgoing:
        """Read sendMulticast. Raises Refused."""
        _need(parameters, 15)
        *aps, hops, _non_members, tag = self._multicast.unpack_from(parameters)
        return Outgoing(OUTGOING_MULTICAST, 0xFFFD, ApsFrame(*aps), tag, hops, _payload(parameters, 14))

    def send_answer(self, status: Status, sequence: int) -> bytes:
        """The answer to any of the three."""
        return bytes((status.ember, sequence))

    def message_sent(self, outgoing: Outgoing, sequence: int, status: Status, payload: bytes) -> bytes:
        """MessageSentHandler."""
        kind, destination, aps, tag, _, _ = outgoing
        profile, cluster, source, to, options, group, _ = aps
        head = self._sent.pack(
            kind,
            destination,
            profile,
            cluster,
            source,
            to,
            options,
            group,
            sequence,
            tag,
            status.ember,
            len(payload),
        )
        return head + payload

    def incoming_message(self, incoming: Incoming) -> bytes:
        """IncomingMessageHandler."""
        kind, aps, sender, _, lqi, rssi, _, payload, trailer = incoming
        head = self._incoming.pack(kind, *aps, lqi, rssi, sender, NO_INDEX, NO_INDEX, len(payload))
        return head + payload + trailer


class Layout17:
    """EZSP 14 and newer: four-octet statuses, two-octet tags, the sender's EUI-64 with each message."""

    _unicast = Struct("<BHHHBBHHBH")
    _broadcast = Struct("<HHBHHBBHHBBH")
    _multicast = Struct("<HHBBHHBBHHBH")
    _answer = Struct("<IB")
    _sent = Struct("<IBHHHBBHHBHB")
    _incoming = Struct("<BHHBBHHBHQBBBbIB")

    def parse_unicast(self, parameters: bytes) -> Outgoing:
        """Read sendUnicast. Raises Refused."""
        _need(parameters, 17)
        kind, destination, *aps, tag = self._unicast.unpack_from(parameters)
        return Outgoing(kind, destination, ApsFrame(*aps), tag, 0, _payload(parameters, 16))

    def parse_broadcast(self, parameters: bytes) -> Outgoing:
        """Read sendBroadcast. Raises Refused."""
        _need(parameters, 20)
        _alias, destination, _sequence, *aps, radius, tag = self._broadcast.unpack_from(parameters)
        payload = _payload(parameters, 19)
        return Outgoing(OUTGOING_BROADCAST, destination, ApsFrame(*aps), tag, radius, payload)

    def parse_multicast(self, parameters: bytes) -> Outgoing:
        """Read sendMulticast. Raises Refused."""
        _need(parameters, 20)
        *aps, hops, destination, _alias, _sequence, tag = self._multicast.unpack_from(parameters)
        payload = _payload(parameters, 19)
        return Outgoing(OUTGOING_MULTICAST, destination, ApsFrame(*aps), tag, hops, payload)

    def send_answer(self, status: Status, sequence: int) -> bytes:
        """The answer to any of the three."""
        return self._answer.pack(status.sl, sequence)

    def message_sent(self, outgoing: Outgoing, sequence: int, status: Status, payload: bytes) -> bytes:
        """MessageSentHandler."""
        kind, destination, aps, tag, _, _ = outgoing
        profile, cluster, source, to, options, group, _ = aps
        head = self._sent.pack(
            status.sl,
            kind,
            destination,
            profile,
            cluster,
            source,
            to,
            options,
            group,
            sequence,
            tag,
            len(payload),
        )
        return head + payload

    def incoming_message(self, incoming: Incoming) -> bytes:
        """IncomingMessageHandler."""
        kind, aps, sender, eui64, lqi, rssi, timestamp, payload, trailer = incoming
        head = self._incoming.pack(
            kind, *aps, sender, eui64 or 0, NO_INDEX, NO_INDEX, lqi, rssi, timestamp, len(payload)
        )
        return head + payload + trailer


def layout_of(version: int) -> Layout:
    """The data path's layout in an EZSP version."""
    return Layout17() if version >= WIDE_STATUSES else Layout13()
