"""What a device does with each message that its endpoint receives, and what it answers if it is for nobody.

Only the hub is listened to; others that would serve images hear NOT_AUTHORIZED. A frame without a whole
header is dropped; a command that cannot be read or is not known is answered with a Default Response, unless
it came as a broadcast or is itself one.

A device with a certificate takes messages of protected clusters only under an established link key. Another
one is dropped and answered NOT_AUTHORIZED, in plain, so that a sender without a key can read it (SE 1.4,
5.4.6; older stacks say FAILURE, which is understood as the same).
"""

from __future__ import annotations

from collections.abc import Iterable

from han.clusters import needs_link_key
from han.errors import TheirError
from han.facts import Facts
from han.sim.devices.attributes import Attributes
from han.sim.devices.establishment import Establishment
from han.sim.devices.firmware import Firmware
from han.sim.devices.messenger import Messenger
from han.sim.devices.port import Port
from han.sim.devices.smart_energy import SmartEnergyClient
from han.sim.node.service import Received
from han.sim.wire.nwk import COORDINATOR
from han.stub_clusters import StubCluster
from han.zcl import (
    KEY_ESTABLISHMENT_CLUSTER,
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
        establishment: Establishment | None,
        smart_energy: SmartEnergyClient | None,
        attributes: Attributes,
        stubs: Iterable[StubCluster],
        heeds_notify: bool,
    ) -> None:
        self._port = port
        self._facts = facts
        self._name = name
        self._firmware = firmware
        self._messenger = messenger
        self._establishment = establishment
        self._smart_energy = smart_energy
        self._attributes = attributes
        self._stub_commands = {(stub.cluster, each.command): each for stub in stubs for each in stub.commands}
        self._heeds_notify = heeds_notify

    def message(self, received: Received) -> None:
        """Take an APS message for one of the device's endpoints."""
        if received.source != COORDINATOR or received.profile != self._port.profile:
            self._drop(f"a message of profile {received.profile:#06x} from {received.source:#06x}")
            self._turn_away(received)
            return
        try:
            frame = ZclFrame.parse(received.payload)
        except TheirError as error:
            self._drop(str(error))
            return
        if self._lacks_protection(received, frame):
            self._refuse(received, frame)
            return
        if self._establishment is not None and _is_key_establishment(received, frame):
            self._establishment.receive(frame, received.source_endpoint)
            return
        if self._smart_energy is not None and self._smart_energy.receive(received.cluster, frame):
            return
        try:
            if frame.is_cluster_command and received.cluster == OTA_CLUSTER:
                self._ota_command(frame, broadcast=received.broadcast)
            else:
                self._other_command(received.cluster, frame)
        except TheirError as error:
            self._drop(str(error))
            if not received.broadcast and not _is_default_response(frame):
                self._port.send(received.cluster, default_response(frame, error.status))

    def _turn_away(self, received: Received) -> None:
        """Tell another node that it is not whom this device takes images from. An Image Notify may pass."""
        if received.cluster != OTA_CLUSTER or received.profile != self._port.profile or received.broadcast:
            return
        try:
            frame = ZclFrame.parse(received.payload)
        except TheirError:
            return
        if frame.is_cluster_command and frame.command_id != ImageNotify.COMMAND_ID:
            self._port.send(
                OTA_CLUSTER,
                default_response(frame, Status.NOT_AUTHORIZED),
                destination=received.source,
                endpoint=received.source_endpoint,
                in_plain=True,
            )

    def _lacks_protection(self, received: Received, frame: ZclFrame) -> bool:
        port = self._port
        if not port.protects or (received.aps_secured and port.is_keyed):
            return False
        command_id = frame.command_id if frame.is_cluster_command else None
        return needs_link_key(received.cluster, command_id=command_id, broadcast=received.broadcast)

    def _refuse(self, received: Received, frame: ZclFrame) -> None:
        if _is_default_response(frame):
            self._refused(received, frame)
            return
        why = "under a key that was not established" if received.aps_secured else "not under the link key"
        self._drop(f"a message of protected cluster {received.cluster:#06x} {why}")
        if not received.broadcast:
            answer = default_response(frame, Status.NOT_AUTHORIZED)
            self._port.send(received.cluster, answer, endpoint=received.source_endpoint, in_plain=True)

    def _refused(self, received: Received, frame: ZclFrame) -> None:
        """The hub answered a protected message in plain: it found no key that it shares with us."""
        try:
            answer = DefaultResponse.parse(frame.payload, from_server=frame.from_server)
        except OtaTheirError as error:
            self._drop(str(error))
            return
        self._drop(f"{answer.status.name} in plain on protected cluster {received.cluster:#06x}")
        if answer.status in (Status.NOT_AUTHORIZED, Status.FAILURE) and self._establishment is not None:
            self._establishment.renew()

    def _ota_command(self, frame: ZclFrame, *, broadcast: bool) -> None:
        if not frame.from_server:
            raise TheirError("there is no OTA server here", Status.UNSUP_CLUSTER_COMMAND)
        try:
            command = decode_ota(frame)
        except OtaTheirError as error:
            if frame.manufacturer is not None:
                raise TheirError(str(error), error.status) from error  # its answer names the manufacturer too
            self._firmware.malformed_command(frame.command_id, frame.sequence, error, broadcast=broadcast)
            return
        if isinstance(command, ImageNotify) and not self._heeds_notify:
            return
        confirm = not frame.disable_default_response
        self._firmware.command(command, frame.sequence, broadcast=broadcast, confirm=confirm)

    def _other_command(self, cluster: int, frame: ZclFrame) -> None:
        if frame.is_cluster_command:
            if not frame.from_server and (stub := self._stub_commands.get((cluster, frame.command_id))):
                payload = bytes.fromhex(stub.payload)
                told = ZclFrame(stub.answer, frame.sequence, payload, from_server=True)
                self._port.send(cluster, told.to_bytes())
                return
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
                self._firmware.command(answer, frame.sequence)
            case DefaultResponse(command_id=command_id, status=status):
                self._facts.say(self._name, "zcl.default-response", command=command_id, status=int(status))
            case _:
                pass

    def _drop(self, why: str) -> None:
        self._facts.say(self._name, "frame.dropped", why=why)


def _is_default_response(frame: ZclFrame) -> bool:
    """Nobody answers one, however malformed: two that did would never stop."""
    return not frame.is_cluster_command and frame.command_id == DefaultResponse.COMMAND_ID


def _is_key_establishment(received: Received, frame: ZclFrame) -> bool:
    """A key is established with one at a time, so never by a broadcast."""
    return (
        received.cluster == KEY_ESTABLISHMENT_CLUSTER and frame.is_cluster_command and not received.broadcast
    )
