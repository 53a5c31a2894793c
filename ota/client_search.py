"""How a device asks what comes next: for its firmware, and for each part that has files of its own."""

from __future__ import annotations

import random
from collections.abc import Callable

from ota.client_conversation import Conversation
from ota.client_events import Queried
from ota.client_flash import Flash
from ota.client_settings import ClientSettings, Identity, Part
from ota.client_states import BUSY, HOLDS_IMAGE, Standing
from ota.commands import (
    ANY_IMAGE_TYPE,
    ANY_MANUFACTURER,
    ImageNotify,
    QueryDeviceSpecificFileRequest,
    QueryDeviceSpecificFileResponse,
    QueryNextImageRequest,
    QueryNextImageResponse,
)


class Search:
    """Asks for one part after another, until the server has something or all had their turn.

    Args:
        rest: called with the time when there is nothing for any of them.
    """

    def __init__(
        self,
        settings: ClientSettings,
        identity: Identity,
        standing: Standing,
        talk: Conversation,
        flash: Flash,
        *,
        dice: random.Random,
        rest: Callable[[float], None],
    ) -> None:
        self.identity = identity
        """What the device is and runs now."""
        self._settings = settings
        self._standing = standing
        self._talk = talk
        self._flash = flash
        self._dice = dice
        self._rest = rest
        self._round: list[Part] = []  # those whose turn is still to come
        self.part = identity.firmware
        """The part that was asked for last."""

    @property
    def wanted(self) -> list[Part]:
        """The parts that the device wants a file for: all, or those whose file is not set aside yet.

        While it holds an image, it asks for a newer one of the same kind alone: another would take its place.
        """
        if self._standing.state in HOLDS_IMAGE:
            held = {key.image_type for key in self._flash.keys}
            return [part for part in self.identity.all_parts if part.image_type in held]
        here = {file.key.image_type for file in self._flash.aside}
        return [part for part in self.identity.all_parts if part.image_type not in here]

    def soon(self, now: float) -> None:
        """Begin at once, unless an image is under way."""
        if self._standing.state not in BUSY:
            self.begin(now)

    def begin(self, now: float) -> None:
        """Ask for the first part."""
        self._talk.errors = 0
        self._round = self.wanted
        self._next(now)

    def nothing(self, now: float) -> None:
        """There is no file for the part that was asked for: on to the next one."""
        if self._round:
            self._talk.errors = 0
            self._next(now)
        else:
            self._rest(now)

    def concerns_us(self, notify: ImageNotify) -> bool:
        """Whether to act on a broadcast: what it names must be ours, and then the dice decide (ZCL7 11.13.3).

        A version that differs from the one that runs or is held will do, be it higher or lower.
        """
        us = self.identity
        if not 1 <= notify.query_jitter <= 100:
            return False
        if notify.manufacturer not in (None, ANY_MANUFACTURER, us.manufacturer):
            return False
        parts = [part for part in self.wanted if notify.image_type in (None, ANY_IMAGE_TYPE, part.image_type)]
        known = {part.file_version for part in parts} | {key.file_version for key in self._flash.keys}
        if not parts or notify.file_version in known:
            return False
        return self._dice.randint(1, 100) <= notify.query_jitter

    def _next(self, now: float) -> None:
        self.part = self._round.pop(0)
        self._ask(now)

    def _ask(self, now: float) -> None:
        us, part = self.identity, self.part
        if part.is_device_specific and us.address is not None:
            self._talk.ask(
                QueryDeviceSpecificFileRequest(
                    us.address, us.manufacturer, part.image_type, part.file_version, us.stack_version
                ),
                QueryDeviceSpecificFileResponse.COMMAND_ID,
            )
        else:
            self._talk.ask(
                QueryNextImageRequest(
                    us.manufacturer, part.image_type, part.file_version, us.hardware_version
                ),
                QueryNextImageResponse.COMMAND_ID,
            )
        self._talk.tell(Queried())
        self._talk.at(now + self._settings.answer_timeout, self._unanswered)

    def _unanswered(self, now: float) -> None:
        self._talk.errors += 1
        if self._talk.errors < self._settings.query_tries:
            self._talk.at(now + self._talk.pause(self._settings.back_off_at_most), self._ask)
        else:
            self._rest(now)
