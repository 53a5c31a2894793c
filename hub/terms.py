"""What one device is served on, where that differs from all others: as it is written, sent and kept. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ota.errors import OurError as OtaOurError
from ota.server_settings import DeviceSettings

Ceiling = Annotated[int, Meta(ge=1, le=65)]
BlockPeriod = Annotated[float, Meta(ge=0, le=3600)]
PeriodUnit = Literal["ms", "s", "probe"]
Silence = Annotated[float, Meta(gt=0, le=30 * 86_400)]


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For one device; what is left out is as for all others. Null says so, where it takes back other terms.

    ``block_ceiling``: octets of image in a block, at most. ``minimum_block_period``: seconds between two of
    its block requests, at least; 0: none. ``block_period_unit``: what it counts that period in, "probe" if
    that has to be found out. ``acknowledged_blocks``: whether blocks want an APS acknowledgement.
    ``stall_after``: seconds of silence in mid-download until it counts as stalled. ``serves_pages``: whether
    its Image Page Requests are served.
    """

    block_ceiling: Ceiling | UnsetType | None = UNSET
    minimum_block_period: BlockPeriod | UnsetType | None = UNSET
    block_period_unit: PeriodUnit | UnsetType | None = UNSET
    acknowledged_blocks: bool | UnsetType | None = UNSET
    stall_after: Silence | UnsetType | None = UNSET
    serves_pages: bool | UnsetType | None = UNSET

    def over(self, base: Terms) -> Terms:
        """These terms, and where they leave something out those of the base; null takes back what it has."""
        said = {name: getattr(self if getattr(self, name) is not UNSET else base, name) for name in _NAMES}
        return Terms(**{name: UNSET if value is None else value for name, value in said.items()})

    def settings(self) -> DeviceSettings:
        """What the OTA machine makes of them.

        Raises:
            ota.errors.OurError: for terms that it cannot keep.
        """
        said = {name: value for name in _NAMES if (value := getattr(self, name)) not in (UNSET, None)}
        return DeviceSettings(**said)


_NAMES = Terms.__struct_fields__


def check(terms: Terms) -> str | None:
    """Why the OTA machine cannot keep these terms; None if it can."""
    try:
        terms.settings()
    except OtaOurError as error:
        return str(error)
    return None
