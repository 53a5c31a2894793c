"""What a device says to remote parties, and what it does at their word: the GBCS messages of firmware update.

    CS06  Activate Firmware        to a two-stage device, answered when the outcome is known
    CS08  Read Firmware Version    to a PPMID or an HCALCS
    CS09  Firmware Activation      from a PPMID, by itself, after it has tried a new image

A command is obeyed only with the protection that GBCS gives it, and a CS06 only under a counter greater than
all before it: nobody can play an old one again. One that was obeyed and comes again, because its answer was
lost with the hub's memory, gets the same answer again and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from han.errors import TheirError
from han.facts import Facts
from han.gbcs.envelope import Envelope
from han.gbcs.messages import (
    firmware_activated,
    firmware_version_read,
    payload_of,
    ppmid_activation,
    require_protected_command,
)
from han.gbcs.payloads import (
    ActivateFirmwareCommand,
    ActivateFirmwareResponse,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
)
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.firmware import Firmware
from han.sim.devices.kinds import Nature
from han.sim.devices.memory import Memory
from ota.eui64 import Eui64

ACTIVATION_DELAY = 3.0
"""Seconds between an activate command and the restart, so that acknowledgements can flow."""


class RemoteParty:
    """The device's GBCS end.

    Args:
        eui64: the device's own: whom messages must name, and whose keys of the lab it has.
        utc: the present moment.
        tell: delivers a message to the hub, now or whenever there is a tunnel.
    """

    def __init__(
        self,
        *,
        eui64: Eui64,
        nature: Nature,
        memory: Memory,
        firmware: Firmware,
        timeline: Timeline,
        facts: Facts,
        name: str,
        utc: Callable[[], datetime],
        tell: Callable[[bytes], None],
    ) -> None:
        self._eui64 = eui64
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
        """Take a message that came through the tunnel. What is spoilt or not for us is dropped."""
        try:
            command = Envelope.parse(message)
            require_protected_command(command, self._eui64)
            said = payload_of(command)
        except TheirError as error:
            self._drop(str(error))
            return
        match said:
            case ActivateFirmwareCommand() if self._nature.two_stage:
                self._activate(message, command, said)
            case ReadFirmwareVersionCommand() if self._nature.tells_version:
                self._facts.say(self._name, "gbcs.read-version")
                version = ReadFirmwareVersionResponse(self._memory.file_version)
                self._tell(firmware_version_read(command, version).to_bytes())
            case _:
                self._drop(f"message {command.code:#06x} is not for a device of this kind")

    def tried_new_firmware(self, *, activated: bool) -> None:
        """A new image has taken over, or failed to: a PPMID tells the ACB."""
        if not self._nature.tells_activation:
            return
        self._facts.say(self._name, "gbcs.activation-alert", success=activated)
        self._memory.originator_counter += 1
        alert = FirmwareActivationAlert(self._utc(), self._memory.file_version, activated)
        self._tell(ppmid_activation(self._eui64, self._memory.originator_counter, alert).to_bytes())

    def attached(self) -> None:
        """The hub can be reached: do what was left undone when the power failed."""
        if self._memory.command is not None and self._memory.answer is None:
            self._act()

    def stop(self) -> None:
        """The hub or the power is gone."""
        if self._acting is not None:
            self._acting.cancel()
            self._acting = None

    def _drop(self, why: str) -> None:
        self._facts.say(self._name, "gbcs.dropped", why=why)

    def _activate(self, message: bytes, command: Envelope, said: ActivateFirmwareCommand) -> None:
        memory = self._memory
        if message == memory.command:
            self._heard_before()
        elif memory.command is not None and command.counter <= Envelope.parse(memory.command).counter:
            self._drop(f"its counter {command.counter} is not greater than that of an earlier command")
        elif said.originator_counter != command.counter:
            self._drop("the counters of message and payload differ")
        elif said.execute_at is not None:
            self._drop("future-dated activation is not modelled yet")
        else:
            memory.command, memory.answer = message, None
            self.stop()
            if self._firmware.decide(said.manufacturer_image_hash).activates:
                self._acting = self._timeline.after(ACTIVATION_DELAY, self._act)
            else:
                self._act()

    def _heard_before(self) -> None:
        answer = self._memory.answer
        if answer is None:
            self._facts.say(self._name, "gbcs.activate", why="heard before, about to be obeyed")
            return
        self._facts.say(self._name, "gbcs.activate", why="heard and obeyed before")
        if answer not in self._memory.unsent:
            self._tell(answer)

    def _act(self) -> None:
        """Act on the command, now, and answer it."""
        self.stop()
        assert self._memory.command is not None, "a command was heard"
        command = Envelope.parse(self._memory.command)
        said = payload_of(command)
        assert isinstance(said, ActivateFirmwareCommand), "only such a command is kept"
        decision = self._firmware.decide(said.manufacturer_image_hash)
        self._facts.say(self._name, "gbcs.activate", response=decision.response.name)
        outcome = ActivationOutcome(decision.response, decision.file_version)
        answer = firmware_activated(command, ActivateFirmwareResponse(outcome), self._utc()).to_bytes()
        self._memory.answer = answer
        if decision.activates:
            self._firmware.activate()
        # After an activation the device is dark: the answer waits until the new firmware has a tunnel.
        self._tell(answer)
