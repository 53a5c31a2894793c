"""The EZSP frames of which every message has one, read and written in one go. Pure.

bellows makes an object of its own of every field, which is most of what a message costs its host. These are
the three frames that come and go with each block of an image: sendUnicast, incomingMessageHandler and
messageSentHandler, without the header that bellows puts before them. The layout changed once, with EZSP 14
(see `STATUS_FIRST_SINCE`); the tests hold both against bellows' own tables, for every version.

What is not needed of a frame is not read. Its octets are kept, for whoever needs the rest.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

STATUS_FIRST_SINCE: Final = 14
"""From this version on a status has four octets and stands first, and a tag has two."""

ENCRYPTION: Final = 0x0020
RETRY: Final = 0x0040
"""APS acknowledgements, and repetition without one."""
ENABLE_ROUTE_DISCOVERY: Final = 0x0100
ENABLE_ADDRESS_DISCOVERY: Final = 0x1000
FRAGMENT: Final = 0x8000
"""Options of an EmberApsFrame."""

UNICAST: Final = 0
MULTICAST: Final = 2
BROADCAST: Final = 4
"""Ways in which a message came to us (EmberIncomingMessageType)."""

_DIRECT = 0
_NO_GROUP = 0

# Each EmberApsFrame: profile, cluster, source and destination endpoint, options, group, sequence.
_INCOMING = Struct("<BHHBBHHBBbHBBB")  # type, APS frame, LQI, RSSI, sender, two indices, length
_INCOMING_14 = Struct(
    "<BHHBBHHBH8xBBBbIB"
)  # type, APS frame, sender, EUI-64, two indices, LQI, RSSI, time, length
_SENT = Struct("<BHHHBBHHBBB")  # type, destination, APS frame, tag, status
_SENT_14 = Struct("<IBHHHBBHHBH")  # status, type, destination, APS frame, tag
_UNICAST = Struct("<BHHHBBHHBBB")  # type, destination, APS frame, tag, length
_UNICAST_14 = Struct("<BHHHBBHHBHB")


class Incoming(NamedTuple):
    """A message that came, with the frame that brought it (without its header)."""

    kind: int
    profile: int
    cluster: int
    source_endpoint: int
    destination_endpoint: int
    options: int
    sender: int
    payload: bytes
    octets: bytes


class Sent(NamedTuple):
    """What became of a message: the status as the dongle gave it, 0 if all is well."""

    nwk: int
    options: int
    tag: int
    status: int
    octets: bytes


class IncomingReader:
    """Reads the incomingMessageHandler of one version, under the name by which bellows calls a layout."""

    def __init__(self, version: int) -> None:
        self._is_new = version >= STATUS_FIRST_SINCE

    def deserialize(self, octets: bytes) -> tuple[Incoming, bytes]:
        """The message, and nothing that is left over.

        Raises:
            ValueError: if the frame ends within the message.
            struct.error: if it ends before.
        """
        if self._is_new:
            (kind, profile, cluster, source, destination, options, _, _, sender, _, _, _, _, _, length) = (
                _INCOMING_14.unpack_from(octets)
            )
            start = _INCOMING_14.size
        else:
            (kind, profile, cluster, source, destination, options, _, _, _, _, sender, _, _, length) = (
                _INCOMING.unpack_from(octets)
            )
            start = _INCOMING.size
        payload = octets[start : start + length]
        if len(payload) < length:
            raise ValueError(f"a message of {length} octets ends after {len(payload)}")
        # Behind it firmware of today appends an octet that no document names.
        return Incoming(
            kind, profile, cluster, source, destination, options, sender, bytes(payload), octets
        ), b""


class SentReader:
    """Reads the messageSentHandler of one version, under the name by which bellows calls a layout."""

    def __init__(self, version: int) -> None:
        self._is_new = version >= STATUS_FIRST_SINCE

    def deserialize(self, octets: bytes) -> tuple[Sent, bytes]:
        """What became of a message, and nothing that is left over.

        Raises:
            struct.error: if the frame is too short.
        """
        if self._is_new:
            status, _, nwk, _, _, _, _, options, _, _, tag = _SENT_14.unpack_from(octets)
        else:
            _, nwk, _, _, _, _, options, _, _, tag, status = _SENT.unpack_from(octets)
        return Sent(nwk, options, tag, status, octets), b""


def write_unicast(  # noqa: PLR0917 - the fields of one frame, in their order
    version: int,
    nwk: int,
    profile: int,
    cluster: int,
    endpoints: tuple[int, int],
    options: int,
    tag: int,
    payload: bytes,
) -> bytes:
    """A sendUnicast to a short address. ``endpoints``: source, destination; ``tag``: 0 to 255.

    The dongle numbers the message itself, whatever the APS sequence in here says.

    Raises:
        struct.error: if a field is out of its range, such as a payload of more than 255 octets.
    """
    layout = _UNICAST_14 if version >= STATUS_FIRST_SINCE else _UNICAST
    source, destination = endpoints
    return (
        layout.pack(
            _DIRECT, nwk, profile, cluster, source, destination, options, _NO_GROUP, tag, tag, len(payload)
        )
        + payload
    )
