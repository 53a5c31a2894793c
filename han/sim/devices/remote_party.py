"""What a device says to remote parties, and what it does at their word: the GBCS messages of firmware update.

    CS06  Activate Firmware        to a two-stage device, answered when the outcome is known
    CS08  Read Firmware Version    to a PPMID or an HCALCS
    CS09  Firmware Activation      from a PPMID, by itself, after it has tried a new image

Messages are the bare payloads (DER): envelopes and signatures are not built yet. A CS06 that was obeyed and
comes again, because its answer was lost with the hub's memory, gets the same answer again and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from han.errors import TheirError
from han.facts import Facts
from han.sim.devices.activation import Decision
from han.sim.devices.firmware import Firmware
from han.sim.devices.kinds import Nature
from han.sim.devices.memory import Memory


class RemoteParty:
    """The device's GBCS end.

    Args:
        utc: the present moment.
        tell: delivers a message to the hub, now or whenever there is a tunnel.
    """

    def __init__(
        self,
        *,
        nature: Nature,
        memory: Memory,
        firmware: Firmware,
        facts: Facts,
        name: str,
        utc: Callable[[], datetime],
        tell: Callable[[bytes], None],
    ) -> None:
        self._nature = nature
        self._memory = memory
        self._firmware = firmware
        self._facts = facts
        self._name = name
        self._utc = utc
        self._tell = tell

    def hear(self, message: bytes) -> None:
        """Take a message that came through the tunnel. What cannot be read or is not for us is dropped."""

    def tried_new_firmware(self, *, activated: bool) -> None:
        """A new image has taken over, or failed to: a PPMID tells the ACB."""
