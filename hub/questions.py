"""Questions that the hub asks a device by itself: what version it runs (SR 11.2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from han.errors import HanError, TheirError
from han.zcl import (
    OTA_CLUSTER,
    ReadAttributes,
    ReadAttributesResponse,
    ZclFrame,
    decode_global,
    encode_global,
)
from hub.line import Line
from ota.commands import DefaultResponse
from ota.eui64 import Eui64
from ota.status import Status

CURRENT_FILE_VERSION: Final = 0x0002
"""Attribute of the OTA cluster's client: what the device runs."""
_NO_VERSION: Final = 0xFFFFFFFF


class Unanswered(Exception):  # noqa: N818 - it names what happened
    """The device gave no version; ``code`` says in the contract's words whether it was silent or refused."""

    def __init__(self, why: str, code: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSettings:
    """Times in seconds.

    Attributes:
        answer_within: for an attribute of a cluster.
        attempts: so often an attribute is asked for.
        message_within: for the answer to CS08. A device that does not know the message keeps silent; all of
            it together stays below the minute that a head end waits for a hub.
    """

    answer_within: float = 10.0
    attempts: int = 3
    message_within: float = 20.0


class Questions:
    """Asks devices for attributes and waits for the answers."""

    def __init__(self, settings: QuestionSettings, line: Line) -> None:
        self._settings = settings
        self._line = line
        self._waiting: dict[tuple[Eui64, int], asyncio.Future[int]] = {}

    async def version(self, device: Eui64) -> int:
        """The file version that the device runs now.

        Raises:
            Unanswered: if it does not answer, or will not tell.
        """
        why = "it was reached, but says nothing"

        def unacknowledged(error: HanError | None) -> None:
            nonlocal why
            if error is not None:
                why = str(error)

        for _ in range(self._settings.attempts):
            sequence = self._line.next_sequence()
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._waiting[device, sequence] = answer
            question = encode_global(ReadAttributes((CURRENT_FILE_VERSION,), from_server=True), sequence)
            self._line.post(device, OTA_CLUSTER, question, unacknowledged)
            try:
                # Also when it was not acknowledged: the answer may come all the same.
                async with asyncio.timeout(self._settings.answer_within):
                    return await answer
            except TimeoutError:
                continue
            finally:
                del self._waiting[device, sequence]
        raise Unanswered(f"the device does not answer: {why}", "unreachable")

    def receive(self, sender: Eui64, frame: ZclFrame) -> bool:
        """Take a global command if it answers a question of ours; False if it does not."""
        waiting = self._waiting.get((sender, frame.sequence))
        if waiting is None or waiting.done():
            return False
        try:
            answer = decode_global(frame)
        except TheirError as error:
            waiting.set_exception(Unanswered(f"the answer cannot be read: {error}", "refused"))
            return True
        match answer:
            case ReadAttributesResponse(records=records):
                values = [each.value for each in records if each.attribute == CURRENT_FILE_VERSION]
                if values and isinstance(values[0], int) and values[0] != _NO_VERSION:
                    waiting.set_result(values[0])
                else:
                    waiting.set_exception(Unanswered("the device does not tell its version", "refused"))
            case DefaultResponse(status=status) if status != Status.SUCCESS:
                waiting.set_exception(Unanswered(f"the device refuses with {status.name}", "refused"))
            case _:
                return False
        return True
