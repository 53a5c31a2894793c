"""Devices that bring a download to an end, or an image into force, in a way of their own. Pure."""

from __future__ import annotations

from dataclasses import replace

from han.sim.devices.personalities.peculiar import Heard, Peculiar, again
from ota.client import ClientSettings, Send
from ota.client_events import Activated, Event
from ota.commands import (
    WAIT_FOR_ACTIVATION,
    DefaultResponse,
    ImageBlockAbort,
    ImageBlockResponse,
    UpgradeEndRequest,
    UpgradeEndResponse,
)
from ota.eui64 import Eui64
from ota.image import ImageKey
from ota.status import Status

SILENCE = 1800.0
HOURS = 6 * 3600.0
LONGEST_DELAY = 3600
_VERSION_ATTRIBUTES = (0x0002, 0x0004)


class FindsImageInvalid(Peculiar):
    """Finds something wrong with every image, once it has all of it."""

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Believe no file."""
        return replace(settings, verify=lambda _: False)


class MalformedAfterAbort(Peculiar):
    """Does not know ABORT: answers it with MALFORMED_COMMAND and goes on asking.

    It is so slow that it gives its users reason for an ABORT.
    """

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Wait for hours between two blocks."""
        return replace(settings, pause_between_blocks=HOURS)

    def hears(self, heard: Heard) -> None:
        """Complain about an ABORT."""
        if isinstance(heard.command, ImageBlockAbort):
            complaint = DefaultResponse(
                ImageBlockResponse.COMMAND_ID, Status.MALFORMED_COMMAND, from_server=False
            )
            self.put(Send(complaint, heard.sequence))
        else:
            self.deliver(heard)


class SilentBeforeUpgradeEnd(Peculiar):
    """Has the whole file, and says nothing for half an hour while it looks at it."""

    _is_silent = False

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Do not take the silence for the server's."""
        return replace(settings, end_tries=60)

    def says(self, send: Send) -> None:
        """Keep the end back, and its repetitions."""
        end = send.command
        if not isinstance(end, UpgradeEndRequest) or end.status != Status.SUCCESS:
            self.put(send)
        elif not self._is_silent:
            self._is_silent = True
            self.later(SILENCE, lambda: self._speak(send))

    def _speak(self, send: Send) -> None:
        self._is_silent = False
        self.put(send)


class EndsTwice(Peculiar):
    """Sends each Upgrade End Request twice."""

    def says(self, send: Send) -> None:
        """Say the end again after a moment."""
        self.put(send)
        if isinstance(send.command, UpgradeEndRequest):
            self.later(0.5, lambda: self.put(again(send)))


class RestartsWhenAnswerLate(Peculiar):
    """Begins at octet 0 again when it has to ask twice when to upgrade; the first answer escapes it."""

    _has_missed = False
    _has_asked = False

    def says(self, send: Send) -> None:
        """Ask once only."""
        end = send.command
        if isinstance(end, UpgradeEndRequest) and end.status == Status.SUCCESS:
            if self._has_asked:
                self._has_asked = False
                self.begin_again(ImageKey(end.manufacturer, end.image_type, end.file_version))
                return
            self._has_asked = True
        self.put(send)

    def hears(self, heard: Heard) -> None:
        """Miss the first answer."""
        if isinstance(heard.command, UpgradeEndResponse):
            if not self._has_missed:
                self._has_missed = True
                return
            self._has_asked = False
        self.deliver(heard)


class TimeIsAbsolute(Peculiar):
    """Takes every upgrade time for UTC: one that is a delay is long past, and it upgrades at once."""

    def hears(self, heard: Heard) -> None:
        """Read a delay as a moment of the year 2000."""
        answer = heard.command
        if (
            isinstance(answer, UpgradeEndResponse)
            and answer.current_time == 0
            and answer.upgrade_time != WAIT_FOR_ACTIVATION
        ):
            heard = replace(heard, command=replace(answer, upgrade_time=0))
        self.deliver(heard)


class CutsLongDelays(Peculiar):
    """Waits an hour where it is told to wait longer, and then upgrades: early, as a widespread stack does."""

    def hears(self, heard: Heard) -> None:
        """Cut the delay."""
        answer = heard.command
        if isinstance(answer, UpgradeEndResponse) and answer.upgrade_time != WAIT_FOR_ACTIVATION:
            latest = answer.current_time + LONGEST_DELAY
            heard = replace(heard, command=replace(answer, upgrade_time=min(answer.upgrade_time, latest)))
        self.deliver(heard)


class KeepsOldVersion(Peculiar):
    """Says that it has upgraded, and runs what it ran before."""

    def tells(self, event: Event) -> None:
        """Start the old firmware."""
        if isinstance(event, Activated):
            event = Activated(self.delivered.file_version)
        super().tells(event)


class OtherVersionEncoding(Peculiar):
    """Tells the version that it runs in another encoding than the file's header has it."""

    def tells(self, event: Event) -> None:
        """Keep the upper half only."""
        if isinstance(event, Activated):
            event = Activated(event.file_version >> 16)
        super().tells(event)


class NoVersionAttribute(Peculiar):
    """Lets nobody read which version it runs; it tells that only when it asks for an image."""

    def attributes(self, server: Eui64 | None = None) -> dict[int, int]:
        """All but the versions, which are optional."""
        known = super().attributes(server)
        return {id_: value for id_, value in known.items() if id_ not in _VERSION_ATTRIBUTES}
