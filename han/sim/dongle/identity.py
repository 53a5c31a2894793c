"""Who the dongle is: addresses, tokens, and the small commands that ask after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from han.sim.dongle.dialect import Command, Dialect, Fields
from han.sim.dongle.errors import Refused
from han.sim.dongle.personality import Personality
from han.sim.dongle.stack import Stack
from han.sim.dongle.statuses import Status
from ota.eui64 import Eui64

MFG_STRING: Final = 0x01
MFG_BOARD_NAME: Final = 0x02
MFG_TOKEN_SIZES: Final = {0x00: 8, 0x01: 16, 0x02: 16, 0x03: 2, 0x04: 2, 0x05: 8, 0x06: 8, 0x07: 92, 0x08: 20}
"""Manufacturing token id to its size in octets; a blank token reads as 0xFF throughout."""
NOT_IN_A_NETWORK: Final = 0xFFFE


class Identity:
    """Addresses and tokens."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        personality: Personality,
        node: Stack,
        eui64: Callable[[], Eui64],
    ) -> None:
        self._dialect = dialect
        self._node = node
        self._eui64 = eui64
        self._printed = {MFG_STRING: personality.manufacturer_string, MFG_BOARD_NAME: personality.board_name}

    def commands(self) -> Mapping[str, Command]:
        """By name."""
        handlers = {
            "nop": self._nothing,
            "echo": lambda fields: {"echo": bytes(fields["data"])},
            "customFrame": self._custom_frame,
            "getEui64": lambda _: {"eui64": self._eui64()},
            "getNodeId": self._node_id,
            "getMfgToken": self._get_mfg_token,
            "setMfgToken": self._set_mfg_token,
            "getTokenData": self._get_token,
            "setTokenData": self._set_token,
            "setManufacturerCode": self._set_manufacturer,
            "setRadioPower": self._nothing,
            "getLibraryStatus": lambda _: {"status": 0},
            "getPhyInterfaceCount": lambda _: {"interfaceCount": 1},
        }
        return self._dialect.commands(handlers)

    def _nothing(self, _fields: Fields) -> Fields:
        return {"status": Status.OK}

    def _custom_frame(self, _fields: Fields) -> Fields:
        """Firmware without extensions of its own says INVALID_CALL, not an empty OK."""
        raise Refused(Status.INVALID_CALL, "this firmware has no extensions")

    def _node_id(self, _fields: Fields) -> Fields:
        nwk = self._node.nwk
        return {"nodeId": NOT_IN_A_NETWORK if nwk is None else nwk}

    def _get_mfg_token(self, fields: Fields) -> Fields:
        token = int(fields["tokenId"])
        size = MFG_TOKEN_SIZES.get(token, 0)
        value = self._printed.get(token, b"")
        return {"tokenData": value[:size].ljust(size, b"\xff")}

    def _set_mfg_token(self, fields: Fields) -> Fields:
        """A real dongle burns some of these for ever; this one keeps the address it was made with."""
        raise Refused(Status.INVALID_CALL, f"token 0x{int(fields['tokenId']):02X} is not for hosts to write")

    def _get_token(self, _fields: Fields) -> Fields:
        """The stack's internal tokens are not open to the host in this firmware."""
        return {"status": Status.FAIL}

    def _set_token(self, fields: Fields) -> Fields:
        raise Refused(Status.FAIL, f"token 0x{int(fields['token']):08X} is not for hosts to write")

    def _set_manufacturer(self, fields: Fields) -> Fields:
        self._node.zdo.manufacturer = int(fields["code"])
        return {"status": Status.OK}
