"""What version a device runs (SR 11.2): its own word by CS08 where it has one, else what its cluster shows.

A PPMID or an HCALCS answers CS08 under its MAC, which the head end can check. One from before SECMP0007 does
not know the message and keeps silent; meters have no CS08. Then the hub reads the attribute of the OTA
cluster's client, and says so: that is the hub's observation, not a message of the device.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from han.errors import TheirError
from han.gbcs.codes import ANSWERS_CS08
from han.gbcs.envelope import Envelope
from han.gbcs.messages import payload_of
from han.gbcs.payloads import ReadFirmwareVersionCommand, ReadFirmwareVersionResponse
from hub.correspondence import Correspondence, Letter
from hub.memory import KnownDevice
from hub.questions import Questions, QuestionSettings
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of it. ``version`` is None if the device answers that it cannot read its version."""

    version: int | None
    source: Literal["CS08", "OTA"]
    gbcs: bytes = b""


class VersionReading:
    """Reads versions.

    Args:
        settings: how long a device may take.
        correspondence: brings CS08 to devices, and their answers.
        questions: reads attributes.
    """

    def __init__(
        self, settings: QuestionSettings, correspondence: Correspondence, questions: Questions
    ) -> None:
        self._settings = settings
        self._correspondence = correspondence
        self._questions = questions
        self._waiting: dict[tuple[Eui64, int], tuple[Envelope, asyncio.Future[Reading]]] = {}
        correspondence.listen(ReadFirmwareVersionResponse, self._answered)

    async def read(self, device: KnownDevice, command: bytes) -> Reading:
        """Read it; ``command`` is the CS08 command, empty if there is none.

        Raises:
            TheirError: if the command is none, or not for this device.
            Unanswered: if the device is silent, or will not tell.
        """
        if command:
            reading = await self._by_message(device, command)
            if reading is not None:
                return reading
        return Reading(await self._questions.version(device.eui64), "OTA")

    async def _by_message(self, device: KnownDevice, command: bytes) -> Reading | None:
        message = _require_reading(command, device)
        key = (device.eui64, message.counter)
        answer: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
        self._waiting[key] = message, answer
        self._correspondence.deliver(device.eui64, command)
        try:
            async with asyncio.timeout(self._settings.message_within):
                return await answer
        except TimeoutError:
            return None
        finally:
            self._correspondence.withdraw(device.eui64, command)
            self._waiting.pop(key, None)

    def _answered(self, letter: Letter) -> None:
        said = letter.said
        assert isinstance(said, ReadFirmwareVersionResponse), "what this listens for"
        command, answer = self._waiting.get((letter.device, letter.message.counter), (None, None))
        if command is None or answer is None or answer.done():
            raise TheirError("an answer to no CS08 that is under way")
        if letter.message.recipient != command.originator:
            raise TheirError(
                f"it is for {letter.message.recipient}, the command came from {command.originator}"
            )
        answer.set_result(Reading(said.file_version, "CS08", letter.octets))


def _require_reading(octets: bytes, device: KnownDevice) -> Envelope:
    message = Envelope.parse(octets)
    if device.device_type not in ANSWERS_CS08:
        raise TheirError(f"CS08 is for {' and '.join(sorted(ANSWERS_CS08))}, not for a {device.device_type}")
    if message.recipient != device.eui64:
        raise TheirError(f"the message is for {message.recipient}, not for {device.eui64}")
    if not isinstance(payload_of(message), ReadFirmwareVersionCommand):
        raise TheirError(f"message {message.code:#06x} reads no version")
    return message
