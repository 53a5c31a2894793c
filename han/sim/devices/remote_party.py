"""What a device says to remote parties, and what it does at their word: the GBCS messages of firmware update.

    CS06  Activate Firmware        to a two-stage device, now or at a time (`han.sim.devices.orders`)
    CS08  Read Firmware Version    to a PPMID or an HCALCS
    CS09  Firmware Activation      from a PPMID, by itself, after it has tried a new image
    FDRA  Receipt Alert            from a meter, by itself, after it has checked an image

A command is obeyed only with the protection that GBCS gives it, and a CS06 only under a counter greater than
all before it: nobody can play an old one again. One that was obeyed and comes again, because its answer was
lost with the hub's memory, gets the same answer again and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from han.errors import TheirError
from han.facts import Facts
from han.gbcs.codes import AlertCode
from han.gbcs.envelope import Envelope
from han.gbcs.messages import (
    firmware_version_read,
    payload_of,
    ppmid_activation,
    receipt_alert,
    require_protected_command,
)
from han.gbcs.payloads import (
    CANCEL,
    ActivateFirmwareCommand,
    ActivationOutcome,
    FirmwareActivationAlert,
    ReadFirmwareVersionCommand,
    ReadFirmwareVersionResponse,
)
from han.gbcs.receipt import ReceiptAlert
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.firmware import Firmware
from han.sim.devices.kinds import Nature
from han.sim.devices.memory import Memory
from han.sim.devices.orders import AT_ONCE, Accepted, Execute, Orders, Refused, Repeated, Tell
from ota.eui64 import Eui64

ACTIVATION_DELAY = 3.0
"""Seconds between an activate command and what it asks for, so that acknowledgements can flow."""


class RemoteParty:
    """The device's GBCS end.

    Args:
        eui64: the device's own: whom messages must name, and whose keys of the lab it has.
        utc: the present moment, for dating messages.
        clock: what the device's own clock says, by which it acts; None while nobody has set that.
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
        clock: Callable[[], datetime | None],
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
        self._clock = clock
        self._tell = tell
        self._orders = Orders(memory)
        self._earliest = 0.0
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
                self._orders.receive(command, self._utc())
                self._settle()
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

    def checked_image(self, image_hash: bytes, *, is_authentic: bool) -> None:
        """A downloaded image was checked: a meter tells the Supplier."""
        if self._nature.receipt is None:
            return
        self._facts.say(self._name, "gbcs.receipt-alert", success=is_authentic, image=image_hash.hex())
        self._memory.originator_counter += 1
        code = AlertCode.VERIFICATION_SUCCEEDED if is_authentic else AlertCode.VERIFICATION_FAILED
        alert = ReceiptAlert(code, self._utc(), image_hash)
        counter, form = self._memory.originator_counter, self._nature.receipt
        self._tell(receipt_alert(self._eui64, counter, form, alert).to_bytes())

    def attached(self) -> None:
        """The hub can be reached, and the firmware knows what it holds: go on with what was left undone.

        From now on until the power fails orders are carried out, whether or not the hub stays.
        """
        self._arm()

    def clock_changed(self) -> None:
        """The device's own clock was set, or went from unset to set: moments are elsewhere now."""
        self._arm()

    def power_off(self) -> None:
        """The power is gone: nothing is carried out until the device is attached again."""
        self._disarm()

    def _drop(self, why: str) -> None:
        self._facts.say(self._name, "gbcs.dropped", why=why)

    def _settle(self) -> None:
        while items := self._orders.drain():
            for item in items:
                match item:
                    case Accepted(due=due, replaces=replaces):
                        self._earliest = self._timeline.now + ACTIVATION_DELAY
                        self._facts.say(self._name, "gbcs.accepted", due=_in_words(due), replaces=replaces)
                    case Repeated():
                        self._facts.say(self._name, "gbcs.repeated")
                    case Refused(why=why):
                        self._drop(why)
                    case Tell(message=message):
                        self._tell(message)
                    case Execute(manufacturer_image_hash=image_hash):
                        self._execute(image_hash)
        self._arm()

    def _execute(self, image_hash: bytes) -> None:
        decision = self._firmware.decide(image_hash)
        self._facts.say(self._name, "gbcs.activate", response=decision.response.name)
        self._orders.executed(ActivationOutcome(decision.response, decision.file_version), self._utc())
        # After an activation the device is dark: what it tells waits until the new firmware has a tunnel.
        if decision.activates:
            self._firmware.activate()

    def _arm(self) -> None:
        self._disarm()
        due = self._orders.timer()
        now = AT_ONCE if due == AT_ONCE else self._clock()
        if due is not None and now is not None:
            at = self._timeline.now + (due - now).total_seconds()
            self._acting = self._timeline.at(max(at, self._earliest), self._due)

    def _due(self) -> None:
        self._acting = None
        self._orders.tick(self._clock())
        self._settle()

    def _disarm(self) -> None:
        if self._acting is not None:
            self._acting.cancel()
            self._acting = None


def _in_words(due: datetime) -> str:
    if due == AT_ONCE:
        return "at once"
    return "never" if due == CANCEL else due.isoformat()
