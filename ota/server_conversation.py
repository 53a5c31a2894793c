"""What the hub's OTA machine says: to devices, and about them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ota.commands import Command, DefaultResponse, ImageBlockWait
from ota.eui64 import Eui64
from ota.server_events import Event, Refused
from ota.server_settings import ServerSettings
from ota.status import Status

EVERYBODY = Eui64(0xFFFFFFFFFFFFFFFF)
"""No device has this address: a `Send` to it is a broadcast."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this command to a device. ``sequence`` None: unsolicited, the pump picks a ZCL sequence number.

    ``acknowledged``: whether it wants an APS acknowledgement. ``tells_outcome``: whether `OtaServer.sent`
    wants to hear when the radio has got rid of it.
    """

    peer: Eui64
    command: Command
    sequence: int | None
    acknowledged: bool = True
    tells_outcome: bool = False


class Conversation:
    """All that the parts of the machine have to say, in order."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._out: list[Send | Event] = []
        self.tell = self._out.append
        """Tell an event."""
        self.send = self._out.append
        """Send what is ready to be sent."""

    def say(self, peer: Eui64, command: Command, sequence: int | None) -> None:
        """Send a command."""
        self._out.append(Send(peer, command, sequence))

    def refuse(self, peer: Eui64, command: Command, sequence: int, why: str, status: Status) -> None:
        """Turn a request down with a Default Response."""
        self._out.append(Refused(peer, why, status))
        self._out.append(Send(peer, DefaultResponse(command.COMMAND_ID, status), sequence))

    def wait(self, peer: Eui64, sequence: int, seconds: float, period: int, now: float) -> float:
        """Tell a client to ask again for octets later (WAIT_FOR_DATA); gives for how many seconds.

        ``period`` is the minimum block period that it is to keep, in its own unit.
        """
        delay = math.ceil(min(seconds, self._settings.wait_at_most))
        current = 0 if self._settings.utc is None else self._settings.utc(now)
        self.say(peer, ImageBlockWait(current, current + delay, period), sequence)
        return delay

    def drain(self) -> list[Send | Event]:
        """What was said since the last call."""
        out = self._out[:]
        self._out.clear()
        return out
