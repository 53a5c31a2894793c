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
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.firmware import Firmware
from han.sim.devices.kinds import Nature
from han.sim.devices.memory import CommandName, Memory

ACTIVATION_DELAY = 3.0
"""Seconds between an activate command and the restart, so that acknowledgements can flow."""


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
        timeline: Timeline,
        facts: Facts,
        name: str,
        utc: Callable[[], datetime],
        tell: Callable[[bytes], None],
    ) -> None:
        self._nature = nature
        self._memory = memory
        self._firmware = firmware
        self._timeline = timeline
        self._facts = facts
        self._name = name
        self._utc = utc
        self._tell = tell
        self._acting: Handle | None = None

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

    def attached(self) -> None:
        """The hub can be reached: do what was left undone when the power failed."""
        if self._memory.activating is not None:
            self._act(self._memory.activating)

    def stop(self) -> None:
        """The hub or the power is gone."""
        if self._acting is not None:
            self._acting.cancel()
            self._acting = None

    def _activate(self, command: ActivateFirmwareCommand) -> None:
        name = (command.originator_counter, command.manufacturer_image_hash)
        if name == self._memory.activating:
            self._facts.say(self._name, "gbcs.activate", why="heard before, about to be obeyed")
        elif name == self._memory.activated_by:
            self._facts.say(self._name, "gbcs.activate", why="heard and obeyed before")
            self._answer(ActivationOutcome(ActivateImageResponseCode.SUCCESS, self._memory.file_version))
        elif command.execute_at is not None:
            self._facts.say(self._name, "gbcs.dropped", why="future-dated activation is not modelled yet")
        elif self._firmware.decide(command.manufacturer_image_hash).activates:
            self._memory.activating = name
            self.stop()
            self._acting = self._timeline.after(ACTIVATION_DELAY, self._act, name)
        else:
            self._act(name)

    def _act(self, name: CommandName) -> None:
        """Act on a command, now, and answer it."""
        self.stop()
        self._memory.activating = None
        decision = self._firmware.decide(name[1])
        self._facts.say(self._name, "gbcs.activate", response=decision.response.name)
        if decision.activates:
            self._memory.activated_by = name
            self._firmware.activate()
        # After an activation the device is dark: the answer waits until the new firmware has a tunnel.
        self._answer(ActivationOutcome(decision.response, decision.file_version))

    def _answer(self, outcome: ActivationOutcome) -> None:
        answer = ActivateFirmwareResponse(outcome).to_der()
        if answer not in self._memory.unsent:
            self._tell(answer)
