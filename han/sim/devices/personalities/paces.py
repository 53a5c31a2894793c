"""Devices that take their time, or lose their patience, in mid-download. Pure."""

from __future__ import annotations

from dataclasses import replace

from han.sim.devices.personalities.peculiar import Heard, Peculiar
from ota.client import ClientSettings, Send
from ota.client_events import DownloadStarted, Event
from ota.commands import ImageBlockRequest, ImageNotify

HALF_AN_HOUR = 1800.0


class OneBlockPerHour(Peculiar):
    """On a battery that is to last for years: asks for a block an hour."""

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Wait between two blocks."""
        return replace(settings, pause_between_blocks=3600.0)


class StopsAfter30Minutes(Peculiar):
    """Falls silent half an hour after a download began, until it is notified; a slow one at that."""

    _began = 0.0
    _is_silent = False

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Take longer than half an hour even for a small file."""
        return replace(settings, pause_between_blocks=120.0)

    def says(self, send: Send) -> None:
        """Ask for no block when the time is over."""
        if not isinstance(send.command, ImageBlockRequest) or self.now < self._began + HALF_AN_HOUR:
            self.put(send)
        else:
            self._is_silent = True

    def hears(self, heard: Heard) -> None:
        """Wake at a notification."""
        if self._is_silent and isinstance(heard.command, ImageNotify):
            self._is_silent = False
            self._machine.start(self.now)
        elif not self._is_silent:
            self.deliver(heard)

    def tells(self, event: Event) -> None:
        """Look at the clock when a download begins."""
        if isinstance(event, DownloadStarted):
            self._began = self.now
        super().tells(event)

    def tick(self, now: float) -> None:
        """Do nothing while silent."""
        if not self._is_silent:
            super().tick(now)

    def timer(self) -> float | None:
        """Want nothing while silent."""
        return None if self._is_silent else super().timer()


class AbortsOften(Peculiar):
    """Breaks off after every twelfth of the file, and goes on there when it is notified again."""

    _stop_at = 0

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Keep what is stored."""
        return replace(settings, keeps_aborted=True)

    def says(self, send: Send) -> None:
        """Say ABORT where a block is due."""
        request = send.command
        if isinstance(request, ImageBlockRequest) and request.file_offset >= self._stop_at:
            self.break_off(request, send.sequence)
        else:
            self.put(send)

    def tells(self, event: Event) -> None:
        """See how far to go this time."""
        if isinstance(event, DownloadStarted):
            self._stop_at = event.offset + event.size // 12
        super().tells(event)


class PeriodInSeconds(Peculiar):
    """Takes the minimum block period for seconds, as cluster revision 2 has it; others for milliseconds."""

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Report the period too, so that a server can find out."""
        return replace(settings, reports_block_period=True, cluster_revision=2)
