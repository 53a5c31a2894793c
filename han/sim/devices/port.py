"""The one endpoint through which a simulated device speaks with the Communications Hub."""

from __future__ import annotations

from collections.abc import Callable

from han.clusters import PROTECTED_CLUSTERS
from han.facts import Facts
from han.sim.node.node import Node
from han.sim.node.service import NodeError, SendRequest, SendStatus
from han.sim.wire.nwk import COORDINATOR

ENDPOINT = 1


class Port:
    """Sends ZCL frames of one profile to the hub, whose endpoint is known once the device is attached.

    ``protects`` says whether the clusters that Smart Energy protects need an established link key here.
    """

    def __init__(self, node: Node, facts: Facts, name: str, profile: int, *, protects: bool) -> None:
        self._node = node
        self._facts = facts
        self._name = name
        self.profile = profile
        self.protects = protects
        self.is_keyed = False
        """Whether such a key is there."""
        self._sequence = 0
        self.hub_endpoint = 1

    def next_sequence(self) -> int:
        """A ZCL sequence number for a new question."""
        self._sequence = (self._sequence + 1) & 0xFF
        return self._sequence

    def send(
        self,
        cluster: int,
        zcl: bytes,
        on_sent: Callable[[bool], None] | None = None,
        *,
        destination: int = COORDINATOR,
        endpoint: int | None = None,
        in_plain: bool = False,
        acknowledged: bool = True,
    ) -> None:
        """Send a frame; ``on_sent`` hears once whether it was ``acknowledged`` end to end.

        Without that, it hears whether it has left. The frame goes to the hub, to ``endpoint`` or else to that
        of its OTA server. ``in_plain`` leaves APS security out whatever the cluster: so one says that one
        refuses, to others than the hub too.
        """
        secured = self.protects and cluster in PROTECTED_CLUSTERS and not in_plain
        if secured and not self.is_keyed:
            self._fail("no link key has been established yet", cluster, on_sent)
            return
        request = SendRequest(
            destination,
            self.profile,
            cluster,
            ENDPOINT,
            self.hub_endpoint if endpoint is None else endpoint,
            zcl,
            aps_ack=acknowledged,
            aps_security=secured,
        )
        try:
            if on_sent is None:
                self._node.send(request, self._sent)
            else:
                self._node.send(request, lambda status: on_sent(status is SendStatus.OK))
        except NodeError as error:
            self._fail(str(error), cluster, on_sent)

    def _fail(self, why: str, cluster: int, on_sent: Callable[[bool], None] | None) -> None:
        self._facts.say(self._name, "device.send-failed", why=why, cluster=cluster)
        if on_sent is not None:
            on_sent(False)

    def _sent(self, status: SendStatus) -> None:
        if status is not SendStatus.OK:
            self._facts.say(self._name, "device.send-failed", why=status.name)
