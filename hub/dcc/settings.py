"""What can be set on the DSP stub, in one place; a default without a source says so where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER
from hub.dcc.carriage import CarriageSettings
from hub.dcc.controls import DAY, BatchSettings
from hub.dcc.lifecycle import Patience
from hub.dcc.proof import Trust
from hub.dcc.requests import Rules
from ota.eui64 import Eui64


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCodes:
    """The DCC Alert codes for what the Service User is told. Their order in the schema suggests these."""

    delivered: str = "N60"
    not_delivered: str = "N61"
    comms_hub: str = "N62"
    ppmid: str = "N39"


@dataclass(frozen=True, slots=True, kw_only=True)
class DspSettings:
    """The settings of the DSP stub and the CSP model.

    Attributes:
        rules: what a request is judged by, control 1 among them.
        carriage: the WAN and control 2.
        batch: control 3, for the CSP's delivery notices.
        alert_codes: see AlertCodes.
        alert_wait: seconds to wait for the alert that a hub owes after it stopped taking an image.
        outcome_wait: seconds to wait for the outcome of an 11.3 once the command is with the device.
        listing_wait: seconds to wait for the hubs' lists when a request names a device that is not known.
        tries_when_hub_appears: try a hub's errands at once when it comes back, not only at the regular
            attempts. A CSP sees a hub register on its network; whether a real one acts on it was not found.
        service_user: the originator in RequestIDs that the DSP gives.
        access_control_broker: the target in RequestIDs of 11.1 and 11.4.
        trust: whose signatures prove what alerts say.
    """

    rules: Rules = field(default_factory=Rules)
    carriage: CarriageSettings = field(default_factory=CarriageSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    alert_codes: AlertCodes = field(default_factory=AlertCodes)
    alert_wait: float = 1 * DAY
    outcome_wait: float = 1 * DAY
    listing_wait: float = 5.0
    tries_when_hub_appears: bool = True
    service_user: Eui64 = SUPPLIER
    access_control_broker: Eui64 = ACCESS_CONTROL_BROKER

    trust: Trust = field(default_factory=Trust)

    @property
    def patience(self) -> Patience:
        """How long each stage of a request may last."""
        return Patience(
            in_progress=self.rules.in_progress,
            retries=self.carriage.retries,
            alert_wait=self.alert_wait,
            outcome_wait=self.outcome_wait,
        )
