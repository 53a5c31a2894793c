"""What all peculiar devices have in common: the honest OTA machine inside, and a habit around it.

A personality changes what goes out of the machine, what comes into it or what it tells, or gives it other
settings; what it does not change is as honest as in any other device. It is a machine itself: told the time,
drained, and woken when it wants to be.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

from ota.client import ClientSettings, Identity, OtaClient, Send, StoredDownload
from ota.client_events import DownloadStarted, Event
from ota.commands import Command, ImageBlockAbort, ImageBlockRequest, UpgradeEndRequest
from ota.errors import TheirError
from ota.eui64 import Eui64
from ota.image import ImageKey
from ota.status import Status


@dataclass(frozen=True, slots=True)
class Heard:
    """A command from the server, and how it came."""

    command: Command
    sequence: int
    broadcast: bool = False
    confirm: bool = False


class Peculiar:
    """A device's OTA machine with a personality. The methods are those of `ota.client.OtaClient`.

    A subclass overrides some of `adapt`, `says`, `hears` and `tells`.
    """

    in_plain: ClassVar[bool] = False
    """Whether it leaves APS security out of its OTA commands."""

    def __init__(
        self,
        settings: ClientSettings,
        identity: Identity,
        dice: random.Random,
        stored: StoredDownload | None = None,
        aside: Sequence[StoredDownload] = (),
    ) -> None:
        self.settings = self.adapt(settings)
        self.delivered = identity
        """What it was and ran when it was switched on."""
        self.now = 0.0
        self.size = 0 if stored is None else stored.size
        """Octets of the image that is being taken."""
        self._dice = dice
        self._machine = OtaClient(self.settings, identity, dice, stored, aside)
        self._out: list[Send | Event] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    # --- what a personality is made of ---------------------------------------------------------------------

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """The settings of the machine inside."""
        return settings

    def says(self, send: Send) -> None:
        """The machine wants to send this."""
        self.put(send)

    def hears(self, heard: Heard) -> None:
        """This came from the server."""
        self.deliver(heard)

    def tells(self, event: Event) -> None:
        """The machine tells this."""
        self._out.append(event)

    def put(self, send: Send) -> None:
        """Send this to the server, as it is."""
        self._out.append(send)

    def deliver(self, heard: Heard) -> None:
        """Let the machine hear this."""
        self._machine.receive(
            heard.command, heard.sequence, self.now, broadcast=heard.broadcast, confirm=heard.confirm
        )

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do this after so many seconds."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._order), action))

    def begin_again(self, key: ImageKey) -> None:
        """Forget what was downloaded of this image, and ask for its first block."""
        self._machine = OtaClient(
            self.settings,
            self._machine.identity,
            self._dice,
            StoredDownload(key, self.size, b""),
            self._machine.aside,
        )
        self._machine.start(self.now)

    def break_off(self, request: ImageBlockRequest, sequence: int) -> None:
        """End the download with ABORT instead of sending this request; what is stored stays."""
        self.deliver(Heard(ImageBlockAbort(), sequence))
        end = UpgradeEndRequest(Status.ABORT, request.manufacturer, request.image_type, request.file_version)
        self.put(Send(end, sequence))

    # --- the machine that others see -----------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """What the device is and runs now."""
        return self._machine.identity

    @property
    def stored(self) -> StoredDownload | None:
        """What the device's flash holds at this moment."""
        return self._machine.stored

    @property
    def aside(self) -> tuple[StoredDownload, ...]:
        """The whole files in its flash that wait for others."""
        return self._machine.aside

    @property
    def held(self) -> ImageKey | None:
        """The image that is whole, good and not yet activated."""
        return self._machine.held

    def attributes(self, server: Eui64 | None = None) -> dict[int, int]:
        """The cluster's client attributes by id."""
        return self._machine.attributes(server)

    def start(self, now: float) -> None:
        """Power on."""
        self.now = now
        self._agenda.clear()
        self._machine.start(now)

    def ask_now(self, now: float) -> None:
        """Query at once, unless busy."""
        self.now = now
        self._machine.ask_now(now)

    def activate(self, now: float) -> None:
        """Let the held image take over. Raises `ota.errors.OurError` if none is held."""
        self.now = now
        self._machine.activate(now)

    def receive(
        self, command: Command, sequence: int, now: float, *, broadcast: bool = False, confirm: bool = True
    ) -> None:
        """Take a command from the server."""
        self.now = now
        self.hears(Heard(command, sequence, broadcast, confirm))

    def receive_malformed(
        self, command_id: int, sequence: int, error: TheirError, now: float, *, broadcast: bool = False
    ) -> None:
        """Take note of a command that could not be read."""
        self.now = now
        self._machine.receive_malformed(command_id, sequence, error, now, broadcast=broadcast)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.now = now
        while self._agenda and self._agenda[0][0] <= now:
            heapq.heappop(self._agenda)[2]()
        self._machine.tick(now)

    def timer(self) -> float | None:
        """When ``tick`` wants to be called, or None."""
        due = self._machine.timer()
        if not self._agenda:
            return due
        return self._agenda[0][0] if due is None else min(due, self._agenda[0][0])

    def drain(self) -> list[Send | Event]:
        """What came of it since the last call, in order."""
        while items := self._machine.drain():
            for item in items:
                if isinstance(item, Send):
                    self.says(item)
                else:
                    if isinstance(item, DownloadStarted):
                        self.size = item.size
                    self.tells(item)
        out, self._out = self._out, []
        return out


def again(send: Send) -> Send:
    """The same command once more, under a sequence number that is not the machine's next."""
    return replace(send, sequence=(send.sequence + 0x80) & 0xFF)
