"""The envelope of a GBCS message: who says what to whom, its signature, its MAC. Pure, without any key.

    MAC header | grouping header | payload | signature | MAC

The first and the last come together or not at all. A critical message is signed, a message between the ACB
and a device has a MAC, a critical command both. Layouts as in the published test messages (RTDS); lengths
below 128 take one octet, greater ones 0x81 or 0x82 and the octets of the number. A message has one encoding,
and no other is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from han.errors import OurError, TheirError
from ota.eui64 import Eui64

MAC_SIZE = 12
SIGNATURE_SIZE = 64

_GENERAL_SIGNING = 0xDF
_GENERAL_CIPHERING = 0xDD
_TRANSACTION_ID_SIZE = 9
_EUI64_SIZE = 8
_CODE_SIZE = 2
_COUNTER_LIMIT = 1 << 64

_MAC_START = bytes((_GENERAL_CIPHERING, 0, 0, 0, 0, 0, 0))
_SECURITY = bytes((0x11, 0, 0, 0, 0))
"""Security control and frame counter of the MAC header: authenticated only; nobody uses the counter."""


class MessageKind(IntEnum):
    """The CRA flag."""

    COMMAND = 1
    RESPONSE = 2
    ALERT = 3


@dataclass(frozen=True, slots=True)
class Supplementary:
    """What a message says of a party beside its two ends: whom it is really for, and that one's counters."""

    remote_party: Eui64
    remote_party_counter: int | None = None
    originator_counter: int | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with the protection that it carries; whether that holds is asked in `han.gbcs.protection`.

    Attributes:
        kind: command, response or alert.
        counter: the originator's; a response repeats that of its command.
        originator: who says it.
        recipient: to whom.
        code: the message code, which names the use case.
        payload: the message itself.
        signature: 64 octets, or None.
        mac: 12 octets, or None.
        date_time: a DLMS date-time of 12 octets in some responses, else nothing.
        supplementary: a third party, if one is named.
        certificate: what a message may carry behind that.
        is_finished: False for a pre-command, which ends where the length of the signature belongs.
    """

    kind: MessageKind
    counter: int
    originator: Eui64
    recipient: Eui64
    code: int
    payload: bytes
    signature: bytes | None = None
    mac: bytes | None = None
    date_time: bytes = b""
    supplementary: Supplementary | None = None
    certificate: bytes = b""
    is_finished: bool = True

    @property
    def signed_octets(self) -> bytes:
        """What a signature covers: grouping header and payload, but for the very first octet.

        Raises:
            OurError: if a field does not fit.
        """
        return (
            _with_length(self.transaction_id)
            + _with_length(_octets(self.originator))
            + _with_length(_octets(self.recipient))
            + _with_length(self.date_time)
            + _with_length(self._other_information())
            + _with_length(self.payload)
        )

    @property
    def transaction_id(self) -> bytes:
        """The CRA flag and the counter, nine octets. Raises OurError for a counter that does not fit."""
        return bytes((self.kind,)) + _counter(self.counter)

    @property
    def inner(self) -> bytes:
        """The message without MAC and MAC header: what a MAC covers.

        Raises:
            OurError: if a field does not fit.
        """
        octets = bytes((_GENERAL_SIGNING,)) + self.signed_octets
        return octets + _with_length(self.signature or b"") if self.is_finished else octets

    def to_bytes(self) -> bytes:
        """The whole message.

        Raises:
            OurError: if a field does not fit, or a pre-command carries protection.
        """
        if self.signature is not None and len(self.signature) != SIGNATURE_SIZE:
            raise OurError(f"a signature has {SIGNATURE_SIZE} octets, not {len(self.signature)}")
        if not self.is_finished and (self.signature is not None or self.mac is not None):
            raise OurError("a pre-command is neither signed nor has it a MAC")
        if self.mac is None:
            return self.inner
        if len(self.mac) != MAC_SIZE:
            raise OurError(f"a MAC has {MAC_SIZE} octets, not {len(self.mac)}")
        return _MAC_START + _with_length(_SECURITY + self.inner + self.mac)

    @classmethod
    def parse(cls, octets: bytes) -> Envelope:
        """Read a message.

        Raises:
            TheirError: naming what is wrong, if these octets are no message in its one encoding.
        """
        mac = None
        if octets[:1] == bytes((_GENERAL_CIPHERING,)):
            octets, mac = _without_mac(octets)
        reader = _Reader(octets)
        if reader.take(1, "the first octet")[0] != _GENERAL_SIGNING:
            raise TheirError("a GBCS message begins with DF, or with DD where it has a MAC")
        message = _read_inner(reader, mac)
        reader.finish()
        # A length may be written in several ways; one of them is right.
        if message.inner != octets:
            raise TheirError("a length is not in its one encoding")
        return message

    def _other_information(self) -> bytes:
        if not 0 <= self.code <= 0xFFFF:
            raise OurError(f"a message code has two octets, {self.code:#x} does not fit")
        octets = self.code.to_bytes(_CODE_SIZE, "big")
        third = self.supplementary
        if third is None:
            if self.certificate:
                raise OurError("a certificate follows a supplementary remote party and its counters")
            return octets
        parts = [_octets(third.remote_party)]
        parts += [
            _counter(each)
            for each in (third.remote_party_counter, third.originator_counter)
            if each is not None
        ]
        is_gapless = third.remote_party_counter is not None or third.originator_counter is None
        if not is_gapless or (self.certificate and third.originator_counter is None):
            raise OurError("of the supplementary fields each needs those before it")
        return octets + b"".join(parts) + self.certificate


def _read_inner(reader: _Reader, mac: bytes | None) -> Envelope:
    transaction = reader.field("transaction id", _TRANSACTION_ID_SIZE)
    if transaction[0] not in set(MessageKind):
        raise TheirError(f"the CRA flag is 1, 2 or 3, not {transaction[0]}")
    originator = reader.field("originator", _EUI64_SIZE)
    recipient = reader.field("recipient", _EUI64_SIZE)
    date_time = reader.field("date-time", 0, 12)
    code, supplementary, certificate = _read_other_information(reader.field("other information"))
    payload = reader.field("payload")
    signature, is_finished = None, not reader.is_at_end
    if is_finished:
        signature = reader.field("signature", 0, SIGNATURE_SIZE) or None
    elif mac is not None:
        raise TheirError("a message with a MAC tells the length of its signature, if only 0")
    return Envelope(
        kind=MessageKind(transaction[0]),
        counter=int.from_bytes(transaction[1:], "big"),
        originator=_eui64(originator),
        recipient=_eui64(recipient),
        code=code,
        payload=payload,
        signature=signature,
        mac=mac,
        date_time=date_time,
        supplementary=supplementary,
        certificate=certificate,
        is_finished=is_finished,
    )


def _without_mac(octets: bytes) -> tuple[bytes, bytes]:
    reader = _Reader(octets)
    if reader.take(len(_MAC_START), "the MAC header") != _MAC_START:
        raise TheirError("a MAC header begins with DD and six octets of 0")
    content = reader.field("the MAC's part")
    reader.finish()
    if content[: len(_SECURITY)] != _SECURITY:
        raise TheirError("a MAC header ends with 11 00 00 00 00")
    if len(content) <= len(_SECURITY) + MAC_SIZE:
        raise TheirError("there is nothing between MAC header and MAC")
    if octets != _MAC_START + _with_length(content):
        raise TheirError("a length is not in its one encoding")
    return content[len(_SECURITY) : -MAC_SIZE], content[-MAC_SIZE:]


def _read_other_information(octets: bytes) -> tuple[int, Supplementary | None, bytes]:
    reader = _Reader(octets)
    code = int.from_bytes(reader.take(_CODE_SIZE, "message code"), "big")
    if reader.is_at_end:
        return code, None, b""
    party = _eui64(reader.take(_EUI64_SIZE, "supplementary remote party"))
    counters: list[int | None] = [None, None]
    for index, name in enumerate(("supplementary remote party counter", "supplementary originator counter")):
        if not reader.is_at_end:
            counters[index] = int.from_bytes(reader.take(8, name), "big")
    return code, Supplementary(party, *counters), reader.rest()


class _Reader:
    """Takes octets from the front, and says what was missing."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._octets)

    def take(self, size: int, name: str) -> bytes:
        taken = self._octets[self._at : self._at + size]
        if len(taken) < size:
            raise TheirError(f"{name}: cut short, {len(taken)} of {size} octets")
        self._at += size
        return taken

    def field(self, name: str, *sizes: int) -> bytes:
        """A length and so many octets; one of ``sizes`` if any is given."""
        size = self.take(1, name)[0]
        if size >= 0x80:
            octets = size - 0x80
            if octets not in (1, 2):
                raise TheirError(f"{name}: a length of {octets} octets")
            size = int.from_bytes(self.take(octets, name), "big")
        if sizes and size not in sizes:
            raise TheirError(f"{name}: {size} octets instead of {' or '.join(map(str, sizes))}")
        return self.take(size, name)

    def rest(self) -> bytes:
        taken = self._octets[self._at :]
        self._at = len(self._octets)
        return taken

    def finish(self) -> None:
        left = len(self._octets) - self._at
        if left:
            raise TheirError(f"{left} octets left over at the end")


def _with_length(octets: bytes) -> bytes:
    size = len(octets)
    if size < 0x80:
        return bytes((size,)) + octets
    if size <= 0xFF:
        return bytes((0x81, size)) + octets
    if size <= 0xFFFF:
        return bytes((0x82,)) + size.to_bytes(2, "big") + octets
    raise OurError(f"a part of a message has at most 65,535 octets, not {size}")


def _counter(counter: int) -> bytes:
    if not 0 <= counter < _COUNTER_LIMIT:
        raise OurError(f"a counter has eight octets, {counter} does not fit")
    return counter.to_bytes(8, "big")


def _octets(address: Eui64) -> bytes:
    return address.to_bytes(_EUI64_SIZE, "big")


def _eui64(octets: bytes) -> Eui64:
    return Eui64.from_bytes(octets, "big")
