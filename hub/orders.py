"""What the user may do about one device's download on a running hub: pause, resume, abort, set its terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hub.custody import Custody
from hub.devices import Devices
from hub.messages import ConfigureRequest, TransferRequest
from hub.serving import Serving
from hub.slot import Assignment, Fate
from hub.terms import Terms, check
from ota.errors import OurError as OtaOurError
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an order, in the contract's words; ``terms`` are those that count from now on."""

    code: str = "ok"
    why: str = ""
    terms: Terms | None = None


class Orders:
    """Carries out what the user says of downloads.

    Args:
        written: the terms in the configuration file.
        custody: keeps a pause and an end.
        devices: keeps terms.
        serving: acts on all of it.
    """

    def __init__(
        self,
        written: Mapping[Eui64, Terms],
        custody: Custody,
        devices: Devices,
        serving: Serving,
    ) -> None:
        self._written = written
        self._custody = custody
        self._devices = devices
        self._serving = serving

    def begin(self) -> None:
        """Put into force what is written and what was said before a restart."""
        said = {each.eui64: each.terms for each in self._custody.memory.devices}
        for device in sorted({*self._written, *said}):
            self._serving.configure(device, self._in_force(device, said.get(device, Terms())).settings())

    def transfer(self, order: TransferRequest) -> Verdict:
        """Pause, resume or abort. The same again changes nothing."""
        device = Eui64.parse(order.device)
        if self._devices.find(device) is None:
            return _unknown(device)
        waiting = self._waiting(device)
        if waiting is None:
            return Verdict("no-transfer", self._why_not(device))
        try:
            match order.action:
                case "abort":
                    self._serving.abort(device)
                case "pause" if not waiting.is_paused:
                    self._serving.pause(device)
                case "resume" if waiting.is_paused:
                    self._serving.resume(device)
        except OtaOurError as error:
            return Verdict("no-transfer", str(error))
        return Verdict()

    def configure(self, order: ConfigureRequest) -> Verdict:
        """Set the terms of a device."""
        device = Eui64.parse(order.device)
        known = self._devices.find(device)
        if known is None:
            return _unknown(device)
        said = order.terms.over(known.terms)
        terms = self._in_force(device, said)
        objection = check(terms)
        if objection is not None:
            return Verdict("malformed", objection)
        self._devices.configured(device, said)
        self._serving.configure(device, terms.settings())
        return Verdict(terms=terms)

    def _in_force(self, device: Eui64, said: Terms) -> Terms:
        return said.over(self._written.get(device, Terms()))

    def _waiting(self, device: Eui64) -> Assignment | None:
        meant = self._custody.held_for(device)
        return meant[1] if meant is not None and meant[1].fate is Fate.WAITING else None

    def _why_not(self, device: Eui64) -> str:
        meant = self._custody.held_for(device)
        match None if meant is None else meant[1].fate:
            case Fate.FINISHED:
                return f"{device} has the whole image: there is nothing left of its download"
            case Fate.FAILED:
                return f"the download of {device} has failed: send a new request (SR 11.1 or 11.4)"
            case _:
                return f"no image waits for {device}: SR 11.1 or 11.4 brings one"


def _unknown(device: Eui64) -> Verdict:
    return Verdict("unknown-device", f"{device} was never admitted to this HAN: see gbhan devices")
