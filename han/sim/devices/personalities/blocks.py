"""Devices that treat a lost, late or repeated block in a way of their own. Pure.

Losses and repetitions come by themselves when the air is bad. So that they also come when it is not, some of
these devices bring theirs about: once, half-way through the first download after they were switched on.
"""

from __future__ import annotations

from dataclasses import replace

from han.sim.devices.personalities.peculiar import Heard, Peculiar, again
from ota.client import ClientSettings, Send
from ota.client_events import DownloadStarted, Event
from ota.commands import ImageBlockRequest, ImageBlockResponse, ImagePageRequest
from ota.image import ImageKey


class AsksAhead(Peculiar):
    """Asks for the next block before the last one is here, let alone acknowledged."""

    _wanted: ImageBlockRequest | None = None
    _number = 0
    _asked_ahead = -1
    _early: ImageBlockResponse | None = None

    def says(self, send: Send) -> None:
        """Ask for two blocks, but for none twice."""
        request = send.command
        if not isinstance(request, ImageBlockRequest):
            self.put(send)
            return
        is_asked = request.file_offset == self._asked_ahead
        self._wanted, self._number = request, send.sequence
        if not is_asked:
            self.put(send)
        self._asked_ahead = request.file_offset + request.maximum_data_size
        if self._asked_ahead < self.size:
            self.put(replace(again(send), command=replace(request, file_offset=self._asked_ahead)))
        early, self._early = self._early, None
        if is_asked and early is not None:
            self._take(early)

    def hears(self, heard: Heard) -> None:
        """Keep what is early; whatever number it bears, the block that is wanted is welcome."""
        block = heard.command
        if not isinstance(block, ImageBlockResponse) or self._wanted is None:
            self.deliver(heard)
        elif block.file_offset == self._wanted.file_offset:
            self._take(block)
        elif block.file_offset == self._asked_ahead:
            self._early = block

    def _take(self, block: ImageBlockResponse) -> None:
        self.deliver(Heard(block, self._number))


class Unlucky(Peculiar):
    """Loses one block half-way; after that it depends on its luck."""

    _is_lost = False

    def hears(self, heard: Heard) -> None:
        """Miss the first block of the second half."""
        block = heard.command
        if isinstance(block, ImageBlockResponse) and not self._is_lost and 2 * block.file_offset >= self.size:
            self._is_lost = True
        else:
            self.deliver(heard)


class RestartsAfterLoss(Unlucky):
    """Begins at octet 0 again whenever a block does not come."""

    _asked = -1

    def says(self, send: Send) -> None:
        """Never ask twice for a block, but for the first."""
        request = send.command
        if not isinstance(request, ImageBlockRequest):
            self.put(send)
            return
        is_repeated = request.file_offset == self._asked > 0
        self._asked = request.file_offset
        if is_repeated:
            self.begin_again(ImageKey(request.manufacturer, request.image_type, request.file_version))
        else:
            self.put(send)


class ShiftsData(Unlucky):
    """Goes on behind a block that it lost, and stores everything after it too far in front.

    It has a checksum of its own over the file, so it does not start what came of that.
    """

    _request: ImageBlockRequest | None = None
    _shift = 0
    _applied = 0

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Check the file in the end."""
        others = settings.verify
        return replace(settings, verify=lambda data: not self._shift and (others is None or others(data)))

    def says(self, send: Send) -> None:
        """Ask for what comes behind the gap while there is anything there."""
        request = send.command
        if not isinstance(request, ImageBlockRequest):
            self.put(send)
            return
        if self._request is not None and request.file_offset == self._request.file_offset > 0:
            self._shift = self._shift or request.maximum_data_size
        self._request = request
        self._applied = self._shift if request.file_offset + self._shift < self.size else 0
        offset = request.file_offset + self._applied
        self.put(replace(send, command=replace(request, file_offset=offset)))

    def hears(self, heard: Heard) -> None:
        """Take what comes for what is wanted."""
        block = heard.command
        if isinstance(block, ImageBlockResponse):
            moved = replace(block, file_offset=max(0, block.file_offset - self._applied))
            heard = replace(heard, command=moved)
        super().hears(heard)

    def tells(self, event: Event) -> None:
        """Another download, another chance."""
        if isinstance(event, DownloadStarted):
            self._shift, self._request = 0, None
        super().tells(event)


class Impatient(Peculiar):
    """Asks for one block twice, half-way, because the answer takes too long for it."""

    _has_hurried = False
    _request: ImageBlockRequest | None = None
    _number = 0

    def says(self, send: Send) -> None:
        """Ask for the first block of the second half twice."""
        self.put(send)
        request = send.command
        if not isinstance(request, ImageBlockRequest):
            return
        self._request, self._number = request, send.sequence
        if not self._has_hurried and 2 * request.file_offset >= self.size:
            self._has_hurried = True
            self.put(again(send))


class AcceptsLateDuplicates(Impatient):
    """Takes any block for the one that it asked for last, whatever number and offset it bears.

    It has a checksum of its own over the file, so it does not start what came of that.
    """

    _is_spoilt = False

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Check the file in the end."""
        others = settings.verify
        return replace(settings, verify=lambda data: not self._is_spoilt and (others is None or others(data)))

    def hears(self, heard: Heard) -> None:
        """Look neither at the number nor at the offset."""
        block, request = heard.command, self._request
        if isinstance(block, ImageBlockResponse) and request is not None:
            self._is_spoilt = self._is_spoilt or block.file_offset != request.file_offset
            heard = Heard(replace(block, file_offset=request.file_offset), self._number)
        self.deliver(heard)

    def tells(self, event: Event) -> None:
        """Another download, another chance."""
        if isinstance(event, DownloadStarted) and event.offset == 0:
            self._is_spoilt = False
        super().tells(event)


class AbortsOnDuplicates(Impatient):
    """Takes a block that comes a second time for an error, and ends the download; what it has it keeps."""

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Keep what is stored."""
        return replace(settings, keeps_aborted=True)

    def hears(self, heard: Heard) -> None:
        """End at a block that is there already."""
        match heard.command, self._request:
            case ImageBlockResponse() as block, ImageBlockRequest() as request if (
                block.file_offset < request.file_offset
            ):
                self.break_off(request, self._number)
            case ImageBlockResponse() as block, _:
                self.deliver(Heard(block, self._number))  # of two answers it takes the first
            case _:
                self.deliver(heard)


class FallsBackToBlocks(Peculiar):
    """Asks for pages and is too slow for what comes: it misses all of it, and goes on block by block."""

    _is_flooded = False

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Ask for pages."""
        return replace(settings, page_size=512)

    def says(self, send: Send) -> None:
        """See what is coming."""
        match send.command:
            case ImagePageRequest():
                self._is_flooded = True
            case ImageBlockRequest():
                self._is_flooded = False
            case _:
                pass
        self.put(send)

    def hears(self, heard: Heard) -> None:
        """Miss the blocks of a page."""
        if not (self._is_flooded and isinstance(heard.command, ImageBlockResponse)):
            self.deliver(heard)
