"""The one endpoint through which a simulated device speaks with the Communications Hub."""

from __future__ import annotations

from collections.abc import Callable

from han.facts import Facts
from han.sim.devices.attachment import COORDINATOR
from han.sim.devices.kinds import Nature
from han.sim.node.node import Node
from han.sim.node.service import NodeError, SendRequest, SendStatus, SimpleDescriptor
from han.zcl import BASIC_CLUSTER, OTA_CLUSTER, TUNNELLING_CLUSTER

ENDPOINT = 1


def descriptor(nature: Nature) -> SimpleDescriptor:
    """What the endpoint says of itself: serves Basic, uses OTA Upgrade, and has a tunnel if its kind does."""
    tunnel = (TUNNELLING_CLUSTER,) if nature.has_tunnel else ()
    return SimpleDescriptor(
        profile=nature.profile,
        device_id=nature.zigbee_device_id,
        input_clusters=(BASIC_CLUSTER, *tunnel),
        output_clusters=(OTA_CLUSTER, *tunnel),
    )


class Port:
    """Sends ZCL frames of one profile to the hub, whose endpoint is known once the device is attached."""

    def __init__(self, node: Node, facts: Facts, name: str, profile: int) -> None:
        self._node = node
        self._facts = facts
        self._name = name
        self.profile = profile
        self._sequence = 0
        self.hub_endpoint = 1

    def next_sequence(self) -> int:
        """A ZCL sequence number for a new question."""
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def send(self, cluster: int, zcl: bytes, on_sent: Callable[[bool], None] | None = None) -> None:
        """Send a frame, to be acknowledged end to end; ``on_sent`` hears once whether it was."""
        request = SendRequest(COORDINATOR, self.profile, cluster, ENDPOINT, self.hub_endpoint, zcl)
        try:
            if on_sent is None:
                self._node.send(request, self._sent)
            else:
                self._node.send(request, lambda status: on_sent(status is SendStatus.OK))
        except NodeError as error:
            self._facts.say(self._name, "device.send-failed", why=str(error), cluster=cluster)
            if on_sent is not None:
                on_sent(False)

    def _sent(self, status: SendStatus) -> None:
        if status is not SendStatus.OK:
            self._facts.say(self._name, "device.send-failed", why=status.name)
