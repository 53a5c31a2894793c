"""What can go wrong in the virtual dongle: our mistakes and the host's."""

from __future__ import annotations

from han.sim.dongle.statuses import Status


class DongleError(Exception):
    """Anything the virtual dongle raises."""


class OurError(DongleError):
    """The dongle, or whoever drives it from inside the simulation, was used wrongly."""


class Refused(DongleError):  # noqa: N818 - an answer of the protocol more than an error
    """The host asked for something that a real dongle refuses; ``status`` is the answer."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status
