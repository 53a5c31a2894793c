"""How a dongle behaves by nature. What goes wrong with it on demand is in `faults`.

The defaults are what EmberZNet dongles showed in logs that people published; nearly all of it surprises a
host that expects one answer per command and nothing else. `PLAIN` is the opposite: a dongle that does as it
is told at once. It is good for measuring and for finding out whether a failure has to do with the dongle at
all; it proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from han.sim.dongle.ash_frames import ResetCode


def _table_sizes() -> dict[int, int]:
    """Configuration ids and what firmware 7.4 was built with (a USB stick of 2024; see `configuration`)."""
    return {
        0x01: 255,  # PACKET_BUFFER_COUNT
        0x02: 26,  # NEIGHBOR_TABLE_SIZE
        0x03: 20,  # APS_UNICAST_MESSAGE_COUNT
        0x04: 32,  # BINDING_TABLE_SIZE
        0x05: 16,  # ADDRESS_TABLE_SIZE
        0x06: 16,  # MULTICAST_TABLE_SIZE
        0x07: 16,  # ROUTE_TABLE_SIZE
        0x08: 8,  # DISCOVERY_TABLE_SIZE
        0x0C: 0,  # STACK_PROFILE
        0x0D: 5,  # SECURITY_LEVEL
        0x10: 30,  # MAX_HOPS
        0x11: 32,  # MAX_END_DEVICE_CHILDREN
        0x12: 3000,  # INDIRECT_TRANSMISSION_TIMEOUT
        0x13: 8,  # END_DEVICE_POLL_TIMEOUT
        0x17: 0,  # TX_POWER_MODE
        0x18: 0,  # DISABLE_RELAY
        0x19: 0,  # TRUST_CENTER_ADDRESS_CACHE_SIZE
        0x1A: 200,  # SOURCE_ROUTE_TABLE_SIZE
        0x1C: 1,  # FRAGMENT_WINDOW_SIZE
        0x1D: 0,  # FRAGMENT_DELAY_MS
        0x1E: 12,  # KEY_TABLE_SIZE
        0x1F: 1600,  # APS_ACK_TIMEOUT
        0x20: 3,  # ACTIVE_SCAN_DURATION
        0x22: 2,  # PAN_ID_CONFLICT_REPORT_THRESHOLD
        0x24: 0,  # REQUEST_KEY_TIMEOUT
        0x2A: 0,  # APPLICATION_ZDO_FLAGS
        0x2B: 15,  # BROADCAST_TABLE_SIZE
        0x2C: 2,  # MAC_FILTER_TABLE_SIZE
        0x2D: 1,  # SUPPORTED_NETWORKS
        0x2E: 0,  # SEND_MULTICASTS_TO_SLEEPY_ADDRESS
        0x30: 216,  # ZLL_RSSI_THRESHOLD
        0x35: 29,  # NEW_BROADCAST_ENTRY_THRESHOLD
        0x36: 300,  # TRANSIENT_KEY_TIMEOUT_S
        0x37: 255,  # BROADCAST_MIN_ACKS_NEEDED
        0x38: 300,  # TC_REJOINS_USING_WELL_KNOWN_KEY_TIMEOUT_S
        0x39: 133,  # CTUNE_VALUE
        0x40: 1,  # ASSUME_TC_CONCENTRATOR_TYPE
    }


@dataclass(frozen=True, slots=True)
class Personality:
    """What a dongle is and does by nature. Times in seconds."""

    ezsp: int = 13
    """The EZSP version it speaks, one of `versions.VERSIONS`."""
    baud: int = 115_200
    table_sizes: dict[int, int] = field(default_factory=_table_sizes)
    """Configuration id to compiled size. The host can shrink a table, never grow it."""
    manufacturer_string: bytes = b""
    """What the manufacturing tokens hold, blank (all 0xFF) by default as on most retail dongles."""
    board_name: bytes = b""

    least_latency: float = 0.006
    most_latency: float = 0.012
    """How long a command waits for its answer; callbacks that happen meanwhile are sent before the answer."""
    boot_time: float = 1.17
    """From RST to RSTACK."""
    reset_reason: ResetCode = ResetCode.SOFTWARE
    """What RSTACK gives as the reason when the host asked for the reset."""
    boot_dirt: bool = True
    """Whether stale frames and a cut one come out of the port before RSTACK."""
    repeated_join_callbacks: bool = True
    """Whether a rejoin is reported twice and a child's association with its route change."""
    trailing_octet: bool = True
    """Whether incoming unicasts carry one undocumented octet behind the payload."""
    own_broadcasts: bool = True
    """Whether the dongle reports its own broadcasts as heard, and messages it sent by itself."""

    imported_key_overrides: bool = True
    """Whether a link key that the host imports for a device comes before the one that the dongle derives from
    the hashed Trust Centre link key, where the network was formed with that. No public trace settles it."""

    broadcasts_per_window: int = 8
    broadcast_window: float = 9.0
    broadcast_sent_after: float = 1.0
    transient_keys: int = 8
    """How many transient link keys fit at a time."""
    endpoints: int = 16
    """How many endpoints can be registered."""
    callbacks_waiting: int = 250
    """How many callbacks fit into the packet buffers while the host does not take them."""
    receive_buffer: int = 128
    """Octets that the serial port holds while the processor is busy; older firmware has 32."""
    software_flow_control: bool = True
    """Whether a full receive buffer says XOFF (hosts do not heed it, but must not stumble over it)."""


def plain(ezsp: int = 13, baud: int = 115_200) -> Personality:
    """A dongle without the habits of real ones: immediate, clean, single answers."""
    return Personality(
        ezsp=ezsp,
        baud=baud,
        least_latency=0.0,
        most_latency=0.0,
        boot_time=0.05,
        boot_dirt=False,
        repeated_join_callbacks=False,
        trailing_octet=False,
        own_broadcasts=False,
    )
