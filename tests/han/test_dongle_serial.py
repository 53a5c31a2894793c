"""The serial line: how long octets take, and which of them are lost."""

from __future__ import annotations

import pytest

from han.sim.air.timeline import Timeline
from han.sim.dongle.serial import SerialLine


def line(*, baud: int = 115_200) -> tuple[Timeline, SerialLine, list, list]:
    timeline = Timeline()
    to_dongle: list[tuple[float, bytes]] = []
    to_host: list[tuple[float, bytes]] = []
    serial = SerialLine(timeline, lambda octets: to_dongle.append((timeline.now, octets)), baud=baud)
    return timeline, serial, to_dongle, to_host


def open_it(timeline: Timeline, serial: SerialLine, to_host: list):
    return serial.open(lambda octets: to_host.append((timeline.now, octets)), lambda: None)


@pytest.mark.parametrize("baud", [9_600, 115_200, 460_800])
def test_an_octet_takes_ten_bits(baud):
    timeline, serial, to_dongle, to_host = line(baud=baud)
    open_it(timeline, serial, to_host).write(bytes(96))

    timeline.run(1.0)

    assert to_dongle == [(pytest.approx(960 / baud), bytes(96))]


def test_a_line_of_no_baud_takes_no_time_and_keeps_the_order():
    timeline, serial, to_dongle, to_host = line(baud=0)
    end = open_it(timeline, serial, to_host)
    end.write(b"first")
    end.write(b"second")

    timeline.run(0.0)

    assert to_dongle == [(0.0, b"first"), (0.0, b"second")]


def test_what_is_written_twice_queues_and_keeps_its_order():
    timeline, serial, to_dongle, to_host = line(baud=1000)
    end = open_it(timeline, serial, to_host)
    end.write(b"ab")
    end.write(b"c")

    timeline.run(1.0)

    assert to_dongle == [(pytest.approx(0.02), b"ab"), (pytest.approx(0.03), b"c")]


def test_both_directions_go_at_the_same_time():
    timeline, serial, to_dongle, to_host = line(baud=1000)
    open_it(timeline, serial, to_host).write(b"there")
    serial.write_to_host(b"back")

    timeline.run(1.0)

    assert to_dongle[0][0] == pytest.approx(0.05)
    assert to_host[0][0] == pytest.approx(0.04)


def test_without_a_host_octets_are_lost():
    timeline, serial, _, to_host = line()
    serial.write_to_host(b"nobody there")
    timeline.run(1.0)
    open_it(timeline, serial, to_host)
    serial.write_to_host(b"somebody")
    timeline.run(2.0)

    assert [octets for _, octets in to_host] == [b"somebody"]


def test_octets_under_way_to_a_host_that_closed_are_lost():
    timeline, serial, _, to_host = line(baud=1000)
    end = open_it(timeline, serial, to_host)
    serial.write_to_host(b"too late")
    end.close()
    timeline.run(1.0)

    assert to_host == []


def test_a_host_whose_port_was_taken_can_no_longer_write():
    timeline, serial, to_dongle, to_host = line()
    old = open_it(timeline, serial, to_host)
    open_it(timeline, serial, to_host)
    old.write(b"still me")
    timeline.run(1.0)

    assert to_dongle == []
    assert not old.is_open


def test_a_dongle_that_restarts_sends_nothing_of_what_was_still_to_be_sent():
    timeline, serial, _, to_host = line(baud=1000)
    open_it(timeline, serial, to_host)
    serial.write_to_host(b"before")
    serial.silence()
    serial.write_to_host(b"after")
    timeline.run(1.0)

    assert to_host == [(pytest.approx(0.05), b"after")]
