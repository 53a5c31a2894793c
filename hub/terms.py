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
    """For one device; what is left out is as for all others. Null says so where it takes back other terms."""

    block_ceiling: Annotated[
        Ceiling | UnsetType | None,
        Meta(description="Octets of image in a block, at most.", examples=[40]),
    ] = UNSET
    minimum_block_period: Annotated[
        BlockPeriod | UnsetType | None,
        Meta(
            description="Seconds between two of its block requests, at least; 0: none. The cluster tells it"
            " to the device with its first block.",
            examples=[0.25],
        ),
    ] = UNSET
    block_period_unit: Annotated[
        PeriodUnit | UnsetType | None,
        Meta(
            description="What the device counts that period in. Cluster revisions 1 and 3 say milliseconds,"
            ' 2 says seconds; "probe", the default, finds out by timing a request.',
            examples=["ms"],
        ),
    ] = UNSET
    acknowledged_blocks: Annotated[
        bool | UnsetType | None,
        Meta(description="Whether its blocks want an APS acknowledgement.", examples=[False]),
    ] = UNSET
    stall_after: Annotated[
        Silence | UnsetType | None,
        Meta(
            description="Seconds of silence in mid-download after which it counts as stalled.",
            examples=[3600.0],
        ),
    ] = UNSET
    serves_pages: Annotated[
        bool | UnsetType | None,
        Meta(description="Whether its Image Page Requests are served.", examples=[False]),
    ] = UNSET

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
