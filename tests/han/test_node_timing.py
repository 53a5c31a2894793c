"""A download's rhythm: what one block exchange takes on the air (the reference time of an efficiency)."""

from __future__ import annotations

import pytest
from node_neighbourhood import Neighbourhood, message

from han.sim.air.medium import air_time
from han.sim.node.mac import BACKOFF_UNIT, CCA, LIFS, TURNAROUND

ZCL_REQUEST, ZCL_RESPONSE = 3 + 14, 3 + 14
MEAN_BACKOFF = 3.5 * BACKOFF_UNIT
ACK = air_time(5)
NWK, APS, SEAL = 9 + 2 + 8 + 18, 8, 9


def reference_time(block: int, *, aps_security: bool) -> float:
    """Mean seconds of request, acknowledgement, response, acknowledgement on a quiet channel."""
    overhead = NWK + APS + (SEAL if aps_security else 0)
    sizes = (overhead + ZCL_REQUEST, overhead, overhead + ZCL_RESPONSE + block, overhead)
    frames = sum(MEAN_BACKOFF + CCA + TURNAROUND + air_time(size) + TURNAROUND + ACK for size in sizes)
    return frames + 2 * LIFS


def exchanges(count: int, block: int, *, aps_security: bool) -> tuple[Neighbourhood, float]:
    """Let a device ask for ``count`` blocks; the seconds that one took."""
    street = Neighbourhood()
    hub, device = street.hub(), street.node("ppmid")
    assert street.join(hub, device).ok
    received: list[float] = []

    def ask() -> None:
        assert hub.nwk is not None
        device.send(message(hub.nwk, bytes(ZCL_REQUEST), aps_security=aps_security), lambda status: None)

    def answer(request) -> None:
        response = message(request.source, bytes(ZCL_RESPONSE + block), aps_security=aps_security)
        hub.send(response, lambda status: None)

    def took(_) -> None:
        received.append(street.timeline.now)
        if len(received) < count:
            ask()

    hub.on_message, device.on_message = answer, took
    start = street.timeline.now
    street.flights.clear()
    ask()
    street.run_until(lambda: len(received) == count)
    return street, (received[-1] - start) / count


def test_the_reference_time_of_a_56_octet_block_is_the_published_one():
    assert reference_time(56, aps_security=True) == pytest.approx(19.78e-3, abs=0.01e-3)


@pytest.mark.parametrize(("block", "aps_security"), [(56, True), (65, False), (48, True), (32, False)])
def test_a_block_takes_in_the_mean_what_physics_asks(block, aps_security):
    _, took = exchanges(1000, block, aps_security=aps_security)
    assert took == pytest.approx(reference_time(block, aps_security=aps_security), rel=0.01)


@pytest.mark.parametrize(("block", "aps_security"), [(56, True), (65, False)])
def test_the_largest_block_fills_the_frame_and_one_octet_more_does_not_fit(block, aps_security):
    street, _ = exchanges(1, block, aps_security=aps_security)
    assert max(len(flight.psdu) for flight in street.flights) == 127


def test_one_block_is_four_frames_and_four_acknowledgements():
    street, _ = exchanges(1, 65, aps_security=False)
    street.timeline.run(street.timeline.now + 1.0)
    assert [len(flight.psdu) for flight in street.flights] == [62, 5, 45, 5, 127, 5, 45, 5]
