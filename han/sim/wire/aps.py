"""Zigbee application support layer frames and their seal (Zigbee specification, 2.2.5 and 4.4).

``ApsFrame.parse`` reads the header; a secured frame's payload is still sealed then. ``ApsAuxiliary.parse``
on it tells which kind of key sealed it; the caller finds the key and calls ``open_frame``. Commands stand
in ``aps_commands``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Self

from han.sim.wire import seal as _seal
from han.sim.wire.errors import WireError
from han.sim.wire.reader import Reader
from han.sim.wire.seal import KeyIdentifier
from ota.eui64 import Eui64

BROADCAST_ENDPOINT: Final = 0xFF
OVERHEAD: Final = 5 + _seal.MIC  # octets that the seal adds without the extended nonce
OVERHEAD_EXTENDED: Final = 13 + _seal.MIC  # and with it


class FrameType(IntEnum):
    """What an APS frame is (2.2.5.1.1.1)."""

    DATA = 0
    COMMAND = 1
    ACK = 2
    INTER_PAN = 3


class Delivery(IntEnum):
    """How it is addressed (2.2.5.1.1.2)."""

    UNICAST = 0
    RESERVED = 1
    BROADCAST = 2
    GROUP = 3


# Names of their own for what is compared with each frame: reaching into an enumeration takes longer than the
# comparison.
_TYPES: Final = tuple(FrameType)
_DATA, _COMMAND, _ACK = _TYPES[:3]
_DELIVERIES: Final = tuple(Delivery)
_TO_ONE, _TO_GROUP = _DELIVERIES[0], _DELIVERIES[3]
_ACK_FORMAT: Final = 0x10
_SECURITY: Final = 0x20
_ACK_REQUEST: Final = 0x40
_EXTENDED: Final = 0x80
_UNICAST: Final = struct.Struct("<BBHHBB")
_GROUP: Final = struct.Struct("<BHHHBB")
_AUXILIARY: Final = struct.Struct("<BI")
_NETWORK: Final = KeyIdentifier.NETWORK


class FragmentKind(IntEnum):
    """The fragmentation field of the extended header (2.2.5.1.8.1)."""

    FIRST = 1
    LATER = 2


@dataclass(frozen=True, slots=True)
class Fragment:
    """The extended header of a fragment or of its acknowledgement (2.2.5.1.8).

    ``block`` is the number of blocks in a first fragment, the block's index in a later one; ``ack_bits``
    stands in acknowledgements only: bit n says that block ``block + n`` has arrived.
    """

    kind: FragmentKind
    block: int
    ack_bits: int | None = None


class ApsFrame(NamedTuple):
    """An application support frame.

    With ``security`` the payload is sealed after ``parse`` and plain after ``open_frame``; it never shows
    in a ``repr``, because a plain one may hold a key.

    Data frames and their acknowledgements have endpoints, cluster and profile (a group message: the group
    in place of the destination endpoint). Commands, and acknowledgements of commands (``ack_format``), have
    none of these.
    """

    type: FrameType
    counter: int
    destination_endpoint: int = 0
    cluster: int = 0
    profile: int = 0
    source_endpoint: int = 0
    payload: bytes = b""
    delivery: Delivery = Delivery.UNICAST
    group: int | None = None
    security: bool = False
    ack_request: bool = False
    ack_format: bool = False
    fragment: Fragment | None = None

    def __repr__(self) -> str:
        shown = self._asdict() | {"payload": f"<{len(self.payload)} octets>"}
        return f"ApsFrame({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def header(self) -> bytes:
        """The octets before the auxiliary header or the payload."""
        control: int = self.type | self.delivery << 2
        if self.security:
            control |= _SECURITY
        if self.ack_request:
            control |= _ACK_REQUEST
        if self.ack_format:
            control |= _ACK_FORMAT
        if self.fragment is not None:
            control |= _EXTENDED
        if self.type is _COMMAND or (self.ack_format and self.type is _ACK):
            header = bytes((control, self.counter))
        elif self.delivery is _TO_GROUP and self.type is _DATA:
            if self.group is None:
                raise ValueError("a group message needs its group")
            header = _GROUP.pack(
                control, self.group, self.cluster, self.profile, self.source_endpoint, self.counter
            )
        else:
            header = _UNICAST.pack(
                control,
                self.destination_endpoint,
                self.cluster,
                self.profile,
                self.source_endpoint,
                self.counter,
            )
        return header if self.fragment is None else header + self._extended_header(self.fragment)

    def _extended_header(self, fragment: Fragment) -> bytes:
        if self.type is not FrameType.ACK:
            return bytes((fragment.kind, fragment.block))
        if fragment.ack_bits is None:
            raise ValueError("the acknowledgement of a fragment needs its ack_bits")
        return bytes((fragment.kind, fragment.block, fragment.ack_bits))

    def to_bytes(self) -> bytes:
        """Header and payload as they are: of a secured frame only what ``parse`` gave is meaningful."""
        return self.header() + self.payload

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the header; what follows, sealed or not, is the payload.

        Raises:
            WireError: if it is cut, or of a type or addressing that Zigbee PRO does not have.
        """
        if not data:
            raise WireError("an empty application support frame")
        control = data[0]
        # Unicast data and its acknowledgement, no fragments: nearly every frame.
        if control & 0x9D == 0 and len(data) >= 8:
            _, destination_endpoint, cluster, profile, source_endpoint, counter = _UNICAST.unpack_from(data)
            return cls(
                _TYPES[control & 3],
                counter,
                destination_endpoint,
                cluster,
                profile,
                source_endpoint,
                data[8:],
                _TO_ONE,
                None,
                control & _SECURITY != 0,
                control & _ACK_REQUEST != 0,
            )
        return cls._parse_in_full(data)

    @classmethod
    def _parse_in_full(cls, data: bytes) -> Self:
        reader = Reader(data)
        control = reader.u8()
        kind, delivery = _TYPES[control & 3], _DELIVERIES[control >> 2 & 3]
        if kind is FrameType.INTER_PAN:
            raise WireError("inter-PAN frames have no place in a secured network")
        if delivery is Delivery.RESERVED:
            raise WireError("APS delivery mode 1 is reserved")
        destination_endpoint = cluster = profile = source_endpoint = 0
        group = None
        if kind is FrameType.DATA or (kind is FrameType.ACK and not control & _ACK_FORMAT):
            if kind is FrameType.DATA and delivery is Delivery.GROUP:
                group = reader.u16()
            else:
                destination_endpoint = reader.u8()
            cluster, profile, source_endpoint = reader.u16(), reader.u16(), reader.u8()
        counter = reader.u8()
        return cls(
            kind,
            counter,
            destination_endpoint,
            cluster,
            profile,
            source_endpoint,
            fragment=_read_fragment(reader, kind) if control & _EXTENDED else None,
            payload=reader.rest(),
            delivery=delivery,
            group=group,
            security=control & _SECURITY != 0,
            ack_request=control & _ACK_REQUEST != 0,
            ack_format=control & _ACK_FORMAT != 0,
        )


def _read_fragment(reader: Reader, frame_type: FrameType) -> Fragment | None:
    kind = reader.u8() & 3
    if kind == 0:
        return None  # an extended header that says "not fragmented" says nothing else
    if kind == 3:
        raise WireError("APS fragmentation 3 is reserved")
    block = reader.u8()
    return Fragment(FragmentKind(kind), block, reader.u8() if frame_type is FrameType.ACK else None)


class ApsAuxiliary(NamedTuple):
    """The auxiliary header of a secured APS frame. ``source`` is there with the extended nonce only."""

    key_identifier: KeyIdentifier
    counter: int
    source: Eui64 | None = None
    key_sequence: int | None = None

    def to_bytes(self) -> bytes:
        """The octets between header and sealed payload."""
        control = self.key_identifier << 3
        if self.source is None:
            data = _AUXILIARY.pack(control, self.counter)
        else:
            data = struct.pack("<BIQ", control | _seal.EXTENDED_NONCE, self.counter, self.source)
        return data if self.key_sequence is None else data + bytes((self.key_sequence,))

    @property
    def size(self) -> int:
        """Its length in octets."""
        return 5 + (8 if self.source is not None else 0) + (1 if self.key_sequence is not None else 0)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read the auxiliary header at the front of a sealed payload.

        Raises:
            WireError: if it is cut.
        """
        if len(payload) < 5:
            raise WireError("an APS auxiliary header has at least 5 octets")
        control, counter = _AUXILIARY.unpack_from(payload)
        identifier = _seal.KEY_IDENTIFIERS[control >> 3 & 3]
        if not control & _seal.EXTENDED_NONCE and identifier is not _NETWORK:
            return cls(identifier, counter)
        reader = Reader(payload)
        reader.octets(5)
        source = reader.eui64() if control & _seal.EXTENDED_NONCE else None
        key_sequence = reader.u8() if identifier is _NETWORK else None
        return cls(identifier, counter, source, key_sequence)


def seal(
    frame: ApsFrame,
    key: bytes,
    counter: int,
    source_eui64: Eui64,
    *,
    key_identifier: KeyIdentifier = KeyIdentifier.DATA,
    extended_nonce: bool = False,
) -> bytes:
    """The octets of ``frame`` with its plain payload sealed.

    ``key`` is the key that seals, already derived from the link key where ``key_identifier`` says so.
    ``counter`` must never be used twice with the same link key by this sender. ``extended_nonce`` names the
    sender in the frame.
    """
    if key_identifier is _NETWORK:
        raise ValueError("an APS frame is sealed with a link key or a key derived from one")
    if not frame.security:
        frame = frame._replace(security=True)
    if extended_nonce:
        auxiliary = ApsAuxiliary(key_identifier, counter, source_eui64).to_bytes()
    else:
        auxiliary = _AUXILIARY.pack(key_identifier << 3, counter)
    return _seal.seal(key, frame.header(), auxiliary, source_eui64, frame.payload)


def open_frame(
    data: bytes,
    key: bytes,
    source_eui64: Eui64 | None = None,
    parsed: ApsFrame | None = None,
    auxiliary: ApsAuxiliary | None = None,
) -> tuple[ApsFrame, ApsAuxiliary]:
    """Open a secured frame with ``key``; give it in plain, and its auxiliary header.

    ``source_eui64`` is the sender as the network layer knows it; a frame that names its sender is taken at
    its word. ``parsed`` and ``auxiliary`` save reading the headers again. Whether the counter is fresh is for
    the caller to judge.

    Raises:
        ForgedError: if the MIC does not match: perhaps another key will.
        WireError: if it is cut, not secured, or nobody knows the sender.
    """
    frame = parsed or ApsFrame.parse(data)
    if not frame.security:
        raise WireError("the application support frame is not secured")
    payload = frame.payload
    if auxiliary is None:
        auxiliary = ApsAuxiliary.parse(payload)
    source = auxiliary.source if auxiliary.source is not None else source_eui64
    if source is None:
        raise WireError("the frame does not name its sender and the network layer does not know it")
    header, size = data[: len(data) - len(payload)], auxiliary.size
    plain = _seal.open_(key, header, payload[:size], source, payload[size:])
    opened = ApsFrame(
        frame.type,
        frame.counter,
        frame.destination_endpoint,
        frame.cluster,
        frame.profile,
        frame.source_endpoint,
        plain,
        frame.delivery,
        frame.group,
        True,
        frame.ack_request,
        frame.ack_format,
        frame.fragment,
    )
    return opened, auxiliary
