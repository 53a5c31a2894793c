"""What a meter that sleeps asks whenever it wakes: whether anything waits for it (SE 1.4, D.3.3.1).

An Image Notify does not reach a device whose radio is off, so the hub puts up a flag instead: the functional
notification flags, attributes of the *client* side of Metering, which is the hub's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from han.clusters import (
    CBKE_UPDATE_REQUEST,
    FUNCTIONAL_NOTIFICATION_FLAGS,
    METERING_CLUSTER,
    NEW_OTA_FIRMWARE,
)
from han.facts import Facts
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.questions import Questions
from han.zcl import AttributeValue

READ_EVERY = 1800.0
"""Seconds: a GB gas meter wakes every half hour."""


class NotificationFlags:
    """Reads the flags that the hub holds up for one meter, and says what they ask for.

    Args:
        on_firmware: the hub has an image.
        on_new_key: the hub wants another link key.
    """

    def __init__(
        self,
        *,
        questions: Questions,
        timeline: Timeline,
        facts: Facts,
        name: str,
        on_firmware: Callable[[], None],
        on_new_key: Callable[[], None],
    ) -> None:
        self._questions = questions
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._on_firmware = on_firmware
        self._on_new_key = on_new_key
        self._timer: Handle | None = None

    def start(self) -> None:
        """The hub has a Metering client: read its flags, now and then."""
        self._timer = self._timeline.after(READ_EVERY, self.start)
        flags = (FUNCTIONAL_NOTIFICATION_FLAGS,)
        self._questions.read(METERING_CLUSTER, flags, self._told, of_client=True)

    def stop(self) -> None:
        """The hub or the power is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _told(self, values: Mapping[int, AttributeValue] | None) -> None:
        flags = None if values is None else values.get(FUNCTIONAL_NOTIFICATION_FLAGS)
        if not isinstance(flags, int) or not flags:
            return
        self._facts.say(self._name, "flags.seen", flags=f"{flags:08X}")
        if flags & NEW_OTA_FIRMWARE:
            self._on_firmware()
        if flags & CBKE_UPDATE_REQUEST:
            self._on_new_key()
