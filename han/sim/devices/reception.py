"""What a device does with each message that its endpoint receives, and what it answers if it is for nobody.

Only the hub is listened to. A frame without a whole header is dropped; a command that cannot be read or is
not known is answered with a Default Response, unless it came as a broadcast or is itself one.
"""

from __future__ import annotations

from han.errors import TheirError
from han.facts import Facts
from han.sim.devices.attachment import COORDINATOR
from han.sim.devices.attributes import Attributes
from han.sim.devices.firmware import Firmware
from han.sim.devices.messenger import Messenger
from han.sim.devices.port import Port
from han.sim.node.service import Received
from han.zcl import (
    OTA_CLUSTER,
    TUNNELLING_CLUSTER,
    ReadAttributes,
    ZclFrame,
    decode_global,
    decode_ota,
    decode_tunnel,
    default_response,
    encode_global,
)
from ota.commands import DefaultResponse, ImageNotify
from ota.errors import TheirError as OtaTheirError
from ota.status import Status


class Reception:
    """Hands each message to the part of the device that it is for."""

    def __init__(
        self,
        *,
        port: Port,
        facts: Facts,
        name: str,
        firmware: Firmware,
        messenger: Messenger | None,
        attributes: Attributes,
        heeds_notify: bool,
    ) -> None:
        self._port = port
        self._facts = facts
        self._name = name
        self._firmware = firmware
        self._messenger = messenger
        self._attributes = attributes
        self._heeds_notify = heeds_notify

    def message(self, received: Received) -> None:
        """Take an APS message for one of the device's endpoints."""
        if received.source != COORDINATOR or received.profile != self._port.profile:
            self._drop(f"a message of profile {received.profile:#06x} from {received.source:#06x}")
            return
        try:
            frame = ZclFrame.parse(received.payload)
        except TheirError as error:
            self._drop(str(error))
            return
        if frame.is_cluster_command and received.cluster == OTA_CLUSTER:
            self._ota_command(frame, broadcast=received.broadcast)
            return
        try:
            self._other_command(received.cluster, frame)
        except TheirError as error:
            self._drop(str(error))
            if not received.broadcast:
                self._port.send(received.cluster, default_response(frame, error.status))

    def _ota_command(self, frame: ZclFrame, *, broadcast: bool) -> None:
        try:
            command = decode_ota(frame)
        except OtaTheirError as error:
            self._firmware.malformed_command(frame.command_id, frame.sequence, error, broadcast=broadcast)
            return
        if isinstance(command, ImageNotify) and not self._heeds_notify:
            return
        self._firmware.command(command, frame.sequence, broadcast=broadcast)

    def _other_command(self, cluster: int, frame: ZclFrame) -> None:
        if frame.is_cluster_command:
            if cluster != TUNNELLING_CLUSTER or self._messenger is None:
                raise TheirError(f"there is no cluster {cluster:#06x} here", Status.UNSUP_CLUSTER_COMMAND)
            command = decode_tunnel(frame)
            if not isinstance(command, DefaultResponse):
                self._messenger.receive(command, frame.sequence)
            return
        match decode_global(frame):
            case ReadAttributes() as question:
                answer = self._attributes.answer(cluster, question, self._firmware.attributes())
                self._port.send(cluster, encode_global(answer, frame.sequence))
            case DefaultResponse() as answer if cluster == OTA_CLUSTER:
                self._firmware.command(answer, frame.sequence, broadcast=False)
            case DefaultResponse(command_id=command_id, status=status):
                self._facts.say(self._name, "zcl.default-response", command=command_id, status=int(status))
            case _:
                pass

    def _drop(self, why: str) -> None:
        self._facts.say(self._name, "frame.dropped", why=why)
