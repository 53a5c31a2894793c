"""What the CSP tells the DSP at the end of an errand."""

from __future__ import annotations

import msgspec

from hub.dcc.lifecycle import Happening

DELIVERY = "delivery"
"""The kind of notice that carries it."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an errand: what it means for its devices, and the hub's code and reason."""

    request_id: str
    happening: Happening
    code: str
    reason: str
    file_version: str | None
