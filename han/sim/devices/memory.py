"""What a simulated device still knows after its power was off: its flash memory.

Everything else in a device is forgotten at a reboot. The image a two-stage device holds and the download that
is under way survive, as they do on real devices: a meter whose power fails does not start its download again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from han.sim.node.store import NodeStore
from ota.client import StoredDownload

CommandName = tuple[int, bytes]
"""What tells one Activate Firmware command from another: originator counter and Manufacturer Image Hash."""


@dataclass(slots=True)
class Memory:
    """The non-volatile memory of one device."""

    node: NodeStore
    """Network, keys, counters: what the radio's stack keeps."""
    file_version: int
    """The OTA file version of the firmware that runs."""
    established_key: bytes | None = field(default=None, repr=False)
    """The link key that key establishment gave last; the node holds it while it is in that network."""
    download: StoredDownload | None = None
    """An upgrade file that is arriving or has arrived."""
    activating: CommandName | None = None
    """The Activate Firmware command that is about to be obeyed."""
    activated_by: CommandName | None = None
    """The one that was obeyed last."""
    unsent: tuple[bytes, ...] = ()
    """GBCS messages that have not reached the Communications Hub yet, oldest first."""
