"""Devices that are particular about how much comes at once. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from han.sim.devices.personalities.peculiar import Heard, Peculiar
from ota.client import ClientSettings, Send
from ota.commands import ImageBlockRequest, ImageBlockResponse, UpgradeEndRequest
from ota.status import Status


class Takes40(Peculiar):
    """Asks for as much as a frame carries, and does not notice a block of more than 40 octets."""

    def hears(self, heard: Heard) -> None:
        """Let through what its buffer holds."""
        if not isinstance(heard.command, ImageBlockResponse) or len(heard.command.data) <= 40:
            self.deliver(heard)


class InRows(Peculiar):
    """Writes its flash in whole rows: takes exactly one at once, or the rest of the file."""

    row: ClassVar[int]

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Ask for rows."""
        return replace(settings, maximum_data_size=self.row)

    def hears(self, heard: Heard) -> None:
        """Let through whole rows."""
        block = heard.command
        if not isinstance(block, ImageBlockResponse) or len(block.data) == self._wanted(block.file_offset):
            self.deliver(heard)

    def _wanted(self, offset: int) -> int:
        return min(self.row, self.size - offset)


class Exactly48(InRows):
    """A row is 48 octets, a multiple of the 16 that its cipher works on."""

    row = 48


class Needs64(InRows):
    """A row is 64 octets: more than a frame with APS security carries."""

    row = 64


class OddSizes(Peculiar):
    """Asks for 56, 4, 6 and 18 octets, header and first tags, then for 64 at a time; never takes more."""

    _first: ClassVar = (56, 4, 6, 18)
    _asked_at = -1
    _asked = 64
    _turn = 0

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Let the machine take whatever is asked for here."""
        return replace(settings, maximum_data_size=64)

    def says(self, send: Send) -> None:
        """Ask for another amount at each new offset."""
        command = send.command
        if isinstance(command, ImageBlockRequest):
            if command.file_offset != self._asked_at:
                self._asked_at = command.file_offset
                self._asked = self._first[self._turn] if self._turn < len(self._first) else 64
                self._turn += 1
            send = replace(send, command=replace(command, maximum_data_size=self._asked))
        self.put(send)

    def hears(self, heard: Heard) -> None:
        """Let through what was asked for: exactly that, but for 64, of which less will do."""
        block = heard.command
        if isinstance(block, ImageBlockResponse):
            wanted = min(self._asked, self.size - block.file_offset)
            if len(block.data) > wanted or (len(block.data) < wanted and self._asked < 64):
                return
        self.deliver(heard)


class AsksPastTheEnd(Peculiar):
    """Has everything, and asks for a block behind the last one before it says so."""

    _asked_for = 0  # the file of this size

    def says(self, send: Send) -> None:
        """Ask once more before the end, whatever the answer is."""
        match send.command:
            case UpgradeEndRequest(status=Status.SUCCESS) as end if self._asked_for != self.size:
                self._asked_for = self.size
                most = self.settings.maximum_data_size
                beyond = ImageBlockRequest(
                    end.manufacturer, end.image_type, end.file_version, self.size, most
                )
                self.put(replace(send, command=beyond))
                self.later(1.0, lambda: self.put(send))
            case _:
                self.put(send)
