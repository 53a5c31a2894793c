"""What a device says to remote parties, and what it does at their word: the GBCS messages of firmware update.

    CS06  Activate Firmware        to a two-stage device, answered when the outcome is known
    CS08  Read Firmware Version    to a PPMID or an HCALCS
    CS09  Firmware Activation      from a PPMID, by itself, after it has tried a new image

Messages are the bare payloads (DER): envelopes and signatures are not built yet. A CS06 that was obeyed and
comes again, because its answer was lost with the hub's memory, gets the same answer again and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from han.errors import TheirError
from han.facts import Facts
from han.gbcs.payloads import (
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivateImageResponseCode,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
    parse_to_device,
)
from han.sim.devices.firmware import Firmware
from han.sim.devices.kinds import Nature
from han.sim.devices.memory import Memory


class RemoteParty:
    """The device's GBCS end.

    Args:
        utc: the present moment.
        tell: delivers a message to the hub, now or whenever there is a tunnel.
    """

    def __init__(
        self,
        *,
        nature: Nature,
        memory: Memory,
        firmware: Firmware,
        facts: Facts,
        name: str,
        utc: Callable[[], datetime],
        tell: Callable[[bytes], None],
    ) -> None:
        self._nature = nature
        self._memory = memory
        self._firmware = firmware
        self._facts = facts
        self._name = name
        self._utc = utc
        self._tell = tell

    def hear(self, message: bytes) -> None:
        """Take a message that came through the tunnel. What cannot be read or is not for us is dropped."""
        try:
            command = parse_to_device(message)
        except TheirError as error:
            self._facts.say(self._name, "gbcs.dropped", why=str(error))
            return
        match command:
            case ActivateFirmwareCommand() if self._nature.two_stage:
                self._activate(command)
            case ReadFirmwareVersionCommand() if self._nature.tells_version:
                self._facts.say(self._name, "gbcs.read-version")
                self._tell(ReadFirmwareVersionResponse(self._memory.file_version).to_der())
            case _:
                why = f"a {type(command).__name__} is not for a device of this kind"
                self._facts.say(self._name, "gbcs.dropped", why=why)

    def tried_new_firmware(self, *, activated: bool) -> None:
        """A new image has taken over, or failed to: a PPMID tells the ACB."""
        if not self._nature.tells_activation:
            return
        self._facts.say(self._name, "gbcs.activation-alert", success=activated)
        self._tell(FirmwareActivationAlert(self._utc(), self._memory.file_version, activated).to_der())

    def _activate(self, command: ActivateFirmwareCommand) -> None:
        name = (command.originator_counter, command.manufacturer_image_hash)
        if self._memory.activated_by == name:
            self._facts.say(self._name, "gbcs.activate", why="heard and obeyed before")
            self._answer(ActivationOutcome(ActivateImageResponseCode.SUCCESS, self._memory.file_version))
            return
        if command.execute_at is not None:
            self._facts.say(self._name, "gbcs.dropped", why="future-dated activation is not modelled yet")
            return
        decision = self._firmware.activate(command.manufacturer_image_hash)
        self._facts.say(self._name, "gbcs.activate", response=decision.response.name)
        if decision.activates:
            self._memory.activated_by = name
        self._answer(ActivationOutcome(decision.response, decision.file_version))

    def _answer(self, outcome: ActivationOutcome) -> None:
        answer = ActivateFirmwareResponse(outcome).to_der()
        if answer not in self._memory.unsent:
            self._tell(answer)
