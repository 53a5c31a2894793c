"""What a node's user says and hears: requests, messages, events, statuses.

Someone who reads only this file knows what a node can be asked for and what it tells. The numbers are those
of EmberZNet where one exists, so that a dongle can pass them on unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple

from han.fragments import Block
from ota.eui64 import Eui64


class NodeError(Exception):
    """We asked a node for something that it cannot do."""


class PayloadTooLong(NodeError):  # noqa: N818 - the name says what is so
    """An APS payload does not fit one frame, or not even as many as a message may have."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"an APS payload of {size} octets does not fit: at most {limit} here; send smaller blocks"
        )
        self.size = size
        self.limit = limit


class NetworkIsDown(NodeError):  # noqa: N818 - the name says what is so
    """The node is in no network: form, join or resume one first."""


class NetworkIsUp(NodeError):  # noqa: N818 - the name says what is so
    """The node is in a network already: leave it first."""


class NoLinkKey(NodeError):  # noqa: N818 - the name says what is so
    """APS security was asked for towards a device with which no link key is shared."""


class AddressUnknown(NodeError):  # noqa: N818 - the name says what is so
    """APS security was asked for towards a short address whose EUI-64 is not known."""


@dataclass(frozen=True, slots=True)
class SimpleDescriptor:
    """What one endpoint is and speaks (Zigbee 2.3.2.5)."""

    profile: int
    device_id: int
    device_version: int = 0
    input_clusters: tuple[int, ...] = ()
    output_clusters: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkParameters:
    """What a network is. The keys never show in a repr."""

    channel: int
    pan_id: int
    extended_pan_id: Eui64
    network_key: bytes = field(repr=False)
    key_sequence: int = 0
    nwk_update_id: int = 0
    tc_link_key: bytes | None = field(default=None, repr=False)
    """The Trust Centre's global link key, where the network has one (0x5A6967..39 elsewhere; None in SE)."""
    nwk: int = 0x0000
    """The former's own short address."""


class SendRequest(NamedTuple):
    """One APS data message to send.

    ``destination`` is a short address; 0xFFFC, 0xFFFD and 0xFFFF are the broadcast addresses. ``group``
    makes it a group message (then ``destination`` is a broadcast address). ``radius`` 0 means the stack's
    default. With ``block`` the payload is a fragment that a host has cut; ``counter`` is then the APS counter
    that the first fragment got, None for the first one itself.
    """

    destination: int
    profile: int
    cluster: int
    source_endpoint: int
    destination_endpoint: int
    payload: bytes
    aps_ack: bool = True
    aps_security: bool = False
    radius: int = 0
    group: int | None = None
    block: Block | None = None
    counter: int | None = None


class SendStatus(IntEnum):
    """How a send ended; the values are EmberStatus."""

    OK = 0x00
    """Acknowledged end to end where that was asked for, else by the next hop; broadcasts: sent."""
    DELIVERY_FAILED = 0x66
    """No APS acknowledgement after all retries, or the next hop never acknowledged."""
    NETWORK_DOWN = 0x90
    """The network went away while the message was under way."""


class Received(NamedTuple):
    """An APS data message that arrived. ``group`` is set for group messages."""

    source: int
    source_eui64: Eui64 | None
    profile: int
    cluster: int
    source_endpoint: int
    destination_endpoint: int
    payload: bytes
    aps_secured: bool
    broadcast: bool
    lqi: int
    rssi: int
    aps_counter: int
    ack_requested: bool
    group: int | None = None
    nwk_sequence: int = 0
    destination: int = 0
    """The short address it was sent to: ours or a broadcast address."""
    carried_source_eui64: bool = False
    """The NWK header itself held the sender's EUI-64 (EZSP: incomingSenderEui64Handler)."""
    block: Block | None = None
    """Which fragment of its message it is, for a host that reassembles them."""


class DeviceUpdate(IntEnum):
    """How a device came or went, as a Trust Centre hears it; the values are EmberDeviceUpdate."""

    SECURED_REJOIN = 0
    UNSECURED_JOIN = 1
    DEVICE_LEFT = 2
    UNSECURED_REJOIN = 3


class JoinDecision(IntEnum):
    """What the Trust Centre did about it; the values are EmberJoinDecision."""

    USE_PRECONFIGURED_KEY = 0
    SEND_KEY_IN_THE_CLEAR = 1
    DENY_JOIN = 2
    NO_ACTION = 3


@dataclass(frozen=True, slots=True)
class NetworkUp:
    """The node is in a network now."""

    nwk: int


@dataclass(frozen=True, slots=True)
class NetworkDown:
    """The node is in no network any more. ``left`` is true when it left for good (its keys are gone)."""

    left: bool


@dataclass(frozen=True, slots=True)
class ChildJoined:
    """A device associated (or rejoined) with this node as its parent, or left it (``joining`` false)."""

    eui64: Eui64
    nwk: int
    index: int
    capability: int
    joining: bool = True


@dataclass(frozen=True, slots=True)
class DeviceJoined:
    """Trust Centre only: a device asked to be let in (or left), and what was decided."""

    eui64: Eui64
    nwk: int
    parent: int
    status: DeviceUpdate
    decision: JoinDecision


@dataclass(frozen=True, slots=True)
class DeviceAnnounced:
    """A Device_annce was heard."""

    eui64: Eui64
    nwk: int
    capability: int


@dataclass(frozen=True, slots=True)
class DeviceLeft:
    """A device said that it leaves the network."""

    eui64: Eui64 | None
    nwk: int
    rejoin: bool


@dataclass(frozen=True, slots=True)
class KeySwitched:
    """The network key with this sequence number is in use now."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Orphaned:
    """The node has lost touch with its network and has to rejoin; ``why`` says what happened.

    With ``has_parent`` that is only a guess, from a Trust Centre that does not answer.
    """

    why: str
    has_parent: bool = False


@dataclass(frozen=True, slots=True)
class KeyVerified:
    """Trust Centre only: a device proved its link key (Verify-Key)."""

    eui64: Eui64


@dataclass(frozen=True, slots=True)
class RouteRecorded:
    """Concentrator only: a device told the way to it; ``relays`` begins with the one nearest to it."""

    nwk: int
    eui64: Eui64 | None
    relays: tuple[int, ...]
    lqi: int
    rssi: int


@dataclass(frozen=True, slots=True)
class RouteFailed:
    """A router on the way reported that a frame went no further; ``status`` as in ``NetworkStatusCode``."""

    status: int
    nwk: int
    """Whom it was meant for; whose it was if a way to us as a concentrator has broken."""


NodeEvent = (
    NetworkUp
    | NetworkDown
    | ChildJoined
    | DeviceJoined
    | DeviceAnnounced
    | DeviceLeft
    | KeySwitched
    | Orphaned
    | KeyVerified
    | RouteRecorded
    | RouteFailed
)


@dataclass(frozen=True, slots=True)
class NeighbourEntry:
    """A row of a node's neighbour table."""

    nwk: int
    eui64: Eui64 | None
    lqi: int
    """Of the last frame that was heard from it."""
    incoming_cost: int
    """What it costs to hear it, 1 to 7."""
    outgoing_cost: int | None
    """What it says of hearing us; 0: not at all; None: it has said nothing."""
    is_router: bool
    is_child: bool


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A row of a node's routing table. ``many_to_one`` as in ``nwk_commands.ManyToOne``."""

    destination: int
    next_hop: int
    many_to_one: int
    record_needed: bool


class JoinStatus(Enum):
    """How an attempt to join ended."""

    JOINED = "joined"
    NO_NETWORK = "no network answered the scan"
    REFUSED = "no parent let us associate"
    NO_KEY = "no usable network key came from the Trust Centre"


@dataclass(frozen=True, slots=True)
class JoinResult:
    """The end of a join or rejoin."""

    status: JoinStatus
    nwk: int | None = None
    parent: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the node is in the network now."""
        return self.status is JoinStatus.JOINED


@dataclass(slots=True)
class Counters:
    """What a node has counted since it was built or last cleared; names follow EmberCounterType."""

    mac_rx_broadcast: int = 0
    mac_tx_broadcast: int = 0
    mac_rx_unicast: int = 0
    mac_tx_unicast_success: int = 0
    mac_tx_unicast_retry: int = 0
    mac_tx_unicast_failed: int = 0
    aps_data_rx_broadcast: int = 0
    aps_data_tx_broadcast: int = 0
    aps_data_rx_unicast: int = 0
    aps_data_tx_unicast_success: int = 0
    aps_data_tx_unicast_retry: int = 0
    aps_data_tx_unicast_failed: int = 0
    nwk_frame_counter_failure: int = 0
    aps_frame_counter_failure: int = 0
    nwk_decryption_failure: int = 0
    aps_decryption_failure: int = 0
    join_indication: int = 0
    children_removed: int = 0
    phy_cca_fail_count: int = 0
