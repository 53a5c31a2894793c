"""The 41 counters that a host's watchdog reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import pack
from typing import Final

from han.sim.dongle.dialect import Command, Dialect
from han.sim.node.service import Counters

COUNT: Final = 41
_PLACES: Final = {
    "mac_rx_broadcast": 0,
    "mac_tx_broadcast": 1,
    "mac_rx_unicast": 2,
    "mac_tx_unicast_success": 3,
    "mac_tx_unicast_retry": 4,
    "mac_tx_unicast_failed": 5,
    "aps_data_rx_broadcast": 6,
    "aps_data_tx_broadcast": 7,
    "aps_data_rx_unicast": 8,
    "aps_data_tx_unicast_success": 9,
    "aps_data_tx_unicast_retry": 10,
    "aps_data_tx_unicast_failed": 11,
    "join_indication": 16,
    "children_removed": 17,
    "nwk_frame_counter_failure": 21,
    "aps_frame_counter_failure": 22,
    "nwk_decryption_failure": 25,
    "aps_decryption_failure": 26,
    "phy_cca_fail_count": 32,
}
"""Name of a node's counter to its EmberCounterType."""
ASH_OVERFLOW: Final = 18
ASH_FRAMING_ERROR: Final = 19
ASH_OVERRUN: Final = 20
NO_PACKET_BUFFER: Final = 27


class CounterBoard:
    """Node counters and serial counters, as 16-bit numbers that count from the last clearing."""

    def __init__(
        self,
        *,
        dialect: Dialect,
        node_counters: Callable[[], Counters],
        serial: Callable[[], Mapping[int, int]],
    ) -> None:
        self._dialect = dialect
        self._node_counters = node_counters
        self._serial = serial
        self._cleared = [0] * COUNT

    def commands(self) -> Mapping[str, Command]:
        """By name. Their answers are written by hand: the tables cannot say how many there are."""
        return {
            "readCounters": Command("readCounters", lambda _: self._read()),
            "readAndClearCounters": Command("readAndClearCounters", lambda _: self._read_and_clear()),
        }

    def _now(self) -> list[int]:
        values = [0] * COUNT
        counters = self._node_counters()
        for name, place in _PLACES.items():
            values[place] = getattr(counters, name)
        for place, value in self._serial().items():
            values[place] = value
        return values

    def _read(self) -> bytes:
        counted = (now - before for now, before in zip(self._now(), self._cleared, strict=True))
        return pack(f"<{COUNT}H", *(value & 0xFFFF for value in counted))

    def _read_and_clear(self) -> bytes:
        octets = self._read()
        self._cleared = self._now()
        return octets
