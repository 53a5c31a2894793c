"""The clusters around those that we speak in full: their ids, attributes, and which need a link key. Pure.

Ids and attributes: ZCL7 (Basic, Time, Keep-Alive), SE 1.4 annexes C (Key Establishment) and D (the others).
"""

from __future__ import annotations

from typing import Final

from han.zcl import OTA_CLUSTER, TUNNELLING_CLUSTER
from ota.commands import ImageNotify

TIME_CLUSTER: Final = 0x000A
KEEP_ALIVE_CLUSTER: Final = 0x0025
METERING_CLUSTER: Final = 0x0702

PROTECTED_CLUSTERS: Final = frozenset(
    {
        OTA_CLUSTER,
        TIME_CLUSTER,
        0x0015,  # Commissioning
        KEEP_ALIVE_CLUSTER,
        0x0700,  # Price
        0x0701,  # Demand Response and Load Control
        METERING_CLUSTER,
        0x0703,  # Messaging
        TUNNELLING_CLUSTER,
        0x0705,  # Prepayment
        0x0706,  # Energy Management
        0x0707,  # Calendar
        0x0708,  # Device Management
        0x0709,  # Events
        0x070A,  # MDU Pairing
        0x070B,  # Sub-GHz
    }
)
"""What Smart Energy sends under the link key in both directions (SE 1.4, 5.4.6).

Not here: Basic, Identify, Key Establishment, which has to run before there is such a key, and the ZDO.
"""

PHYSICAL_ENVIRONMENT: Final = 0x0011
"""Basic: where a device stands (enum8)."""
MIRROR_CAPACITY_AVAILABLE: Final = 0x01
"""What it has to read on a Communications Hub (GBCS 10.2.2): a meter may ask it for a mirror."""

CURRENT_TIME: Final = 0x0000
"""Time: UTC, in seconds since 2000 (UTCTime)."""
TIME_STATUS: Final = 0x0001
"""Time: how far to trust it (bitmap8)."""

KEEP_ALIVE_BASE: Final = 0x0000
"""Keep-Alive: minutes between two questions whether the Trust Centre is there (uint8)."""
KEEP_ALIVE_JITTER: Final = 0x0001
"""Keep-Alive: seconds at most that a device adds to them (uint16)."""

KEY_ESTABLISHMENT_SUITE: Final = 0x0000
"""Key Establishment: a bit for each suite (bitmap16; an enum16 up to SE 1.1)."""

FUNCTIONAL_NOTIFICATION_FLAGS: Final = 0x0000
"""Metering: what waits for a meter that sleeps (bitmap32; SE 1.4, D.3.3.1).

An attribute of the *client* side, the hub's: the meter, being the server, reads it with "from server" set.
"""
NEW_OTA_FIRMWARE: Final = 0x0000_0001
"""Of these flags: ask the OTA server for an image (SE 1.4, table D-59)."""
CBKE_UPDATE_REQUEST: Final = 0x0000_0002
"""Of these flags: establish a link key anew (the same table)."""

_IMAGE_NOTIFY = ImageNotify.COMMAND_ID


def needs_link_key(cluster: int, *, command_id: int | None = None, broadcast: bool = False) -> bool:
    """Whether a message has to come under the link key.

    Args:
        cluster: which.
        command_id: of the cluster's own command; None for a global one.
        broadcast: whether it went to many at once: nobody shares a key with all, so an Image Notify may then
            come without.
    """
    if broadcast and cluster == OTA_CLUSTER and command_id == _IMAGE_NOTIFY:
        return False
    return cluster in PROTECTED_CLUSTERS
