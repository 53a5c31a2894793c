"""Whose certificates the devices of a home hold: the public lab authority's, or those of one's own folder."""

from __future__ import annotations

from pathlib import Path

from han.errors import HanError
from han.key_folder import KeyFolder
from han.security.certificate import Credentials
from han.security.lab_authority import lab_credentials
from han.security.suite import Suite
from han.sim.devices.conduct import Certified
from han.sim.home import Home, HomeError
from ota.eui64 import Eui64


def certified_in(home: Home) -> Certified:
    """What a device of this home proves itself with.

    Raises:
        HomeError: at once if the home's folder of keys cannot be used; when asked, if it has nothing for the
            device.
    """
    if home.keys is None:
        return lab_credentials
    try:
        place = KeyFolder.open(Path(home.keys))
    except HanError as error:
        raise HomeError(f"home {home.name!r}: {error}") from error

    def certified(subject: Eui64, suite: Suite) -> Credentials:
        try:
            found = [each for each in place.credentials_of(subject) if each.suite is suite]
        except HanError as error:
            raise HomeError(f"home {home.name!r}: {error}") from error
        if not found:
            raise HomeError(
                f"home {home.name!r}: {place.path} holds no certificate of {suite} for {subject};"
                f" gbhan keys issue {place.path} {subject} --suite {suite:d} makes one"
            )
        return found[0]

    return certified
