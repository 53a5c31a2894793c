"""Devices that ask for an image in a way of their own, or not at all. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from han.sim.devices.personalities.peculiar import Heard, Peculiar
from ota.client import ClientSettings, Send
from ota.commands import DefaultResponse, QueryNextImageRequest, QueryNextImageResponse
from ota.status import Status

FEW_SECONDS = 3.0
FLOOD = 600.0
"""Seconds after power on for which a device asks every few seconds: enough to be a nuisance."""

NO_SUCH_THING = Status(0xC1)
"""What one maker's devices answer to NO_IMAGE_AVAILABLE: SOFTWARE_FAILURE in other clusters."""


class AsksEveryFewSeconds(Peculiar):
    """Asks for an image every three seconds, whatever the answer was."""

    def start(self, now: float) -> None:
        """Begin to ask."""
        super().start(now)
        self._ask_until(now + FLOOD)

    def _ask_until(self, end: float) -> None:
        self._machine.ask_now(self.now)
        if self.now < end:
            self.later(FEW_SECONDS, lambda: self._ask_until(end))


class AlternatesImageTypes(Peculiar):
    """Has two processors, and asks for the firmware of one and of the other in turn; the other's first."""

    _is_for_the_other = False

    def says(self, send: Send) -> None:
        """Every other query is for a type of image of which there is none."""
        query = send.command
        if isinstance(query, QueryNextImageRequest):
            self._is_for_the_other = not self._is_for_the_other
            if self._is_for_the_other:
                other = replace(query, image_type=query.image_type ^ 1, file_version=0x00000005)
                send = replace(send, command=other)
        self.put(send)


class IgnoresNotify(Peculiar):
    """Confirms an Image Notify and never asks for the image."""

    def says(self, send: Send) -> None:
        """Keep every query back."""
        if not isinstance(send.command, QueryNextImageRequest):
            self.put(send)


class AnswersNoImage(Peculiar):
    """Answers a NO_IMAGE_AVAILABLE, unasked, and with a status that the cluster does not have."""

    def hears(self, heard: Heard) -> None:
        """Answer an answer."""
        answer = heard.command
        if isinstance(answer, QueryNextImageResponse) and answer.status != Status.SUCCESS:
            complaint = DefaultResponse(answer.COMMAND_ID, NO_SUCH_THING, from_server=False)
            self.put(Send(complaint, heard.sequence))
        self.deliver(heard)


class RefusesDowngrade(Peculiar):
    """Turns an image down whose version is lower than its own."""

    def adapt(self, settings: ClientSettings) -> ClientSettings:
        """Go only upwards."""
        return replace(settings, accepts_downgrade=False)


class Unencrypted(Peculiar):
    """Leaves APS security out of its OTA commands, though it has a link key."""

    in_plain: ClassVar[bool] = True
