"""What a device is to its hub besides a client of firmware: a client of the Smart Energy clusters around it.

Which of them run follows from the kind of device, and from what the hub's endpoint says that it serves.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

from han.clusters import KEEP_ALIVE_CLUSTER, METERING_CLUSTER, TIME_CLUSTER
from han.facts import Facts
from han.sim.air.timeline import Timeline
from han.sim.devices.errands import ERRANDS, Errands
from han.sim.devices.keep_alive import KeepAlive
from han.sim.devices.notification_flags import NotificationFlags
from han.sim.devices.port import Port
from han.sim.devices.questions import Questions
from han.sim.devices.time_of_day import TimeOfDay
from han.sim.home import Kind
from han.sim.wire.zdo import SimpleDescriptor
from han.zcl import ZclFrame


class SmartEnergyClient:
    """The clients of one device.

    Args:
        on_lost: called when the hub does not answer any more.
        on_firmware: called when the hub tells a meter that it has an image.
        on_new_key: called when the hub tells a meter that it wants another link key.
        on_time: called when the hub has told the time, or turns out to tell none.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        port: Port,
        timeline: Timeline,
        dice: random.Random,
        facts: Facts,
        name: str,
        on_lost: Callable[[], None],
        on_firmware: Callable[[], None],
        on_new_key: Callable[[], None],
        on_time: Callable[[], None],
    ) -> None:
        self._questions = questions = Questions(port, timeline)
        self._clock = TimeOfDay(
            questions=questions, timeline=timeline, facts=facts, name=name, on_set=on_time
        )
        self._on_time = on_time
        self.hub_tells_no_time = False
        """Whether the hub that is there has no Time server."""
        self._keep_alive = KeepAlive(
            questions=questions, timeline=timeline, dice=dice, facts=facts, name=name, on_lost=on_lost
        )
        self._flags = NotificationFlags(
            questions=questions,
            timeline=timeline,
            facts=facts,
            name=name,
            on_firmware=on_firmware,
            on_new_key=on_new_key,
        )
        self._errands = Errands(
            errands=ERRANDS[kind], questions=questions, timeline=timeline, facts=facts, name=name
        )
        self._reads_flags = kind is Kind.GSME

    def utc(self) -> datetime | None:
        """The time of day that the hub told, or None."""
        return self._clock.utc()

    def start(self, hub: SimpleDescriptor) -> None:
        """The hub can be reached, and its endpoint serves and uses this."""
        self.stop()
        self.hub_tells_no_time = TIME_CLUSTER not in hub.input_clusters
        if self.hub_tells_no_time:
            self._on_time()
        else:
            self._clock.start()
        if KEEP_ALIVE_CLUSTER in hub.input_clusters:
            self._keep_alive.start()
        if METERING_CLUSTER in hub.output_clusters and self._reads_flags:
            self._flags.start()
        self._errands.start()

    def stop(self) -> None:
        """The hub is gone."""
        self._questions.stop()
        self._clock.stop()
        self._keep_alive.stop()
        self._flags.stop()
        self._errands.stop()

    def power_off(self) -> None:
        """Forget what no flash memory holds."""
        self.stop()
        self._clock.power_off()
        self.hub_tells_no_time = False

    def receive(self, cluster: int, frame: ZclFrame) -> bool:
        """Take a message from the hub; False if it answers nothing that was asked."""
        return self._questions.receive(cluster, frame)
