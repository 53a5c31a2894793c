"""Who may join, and until when."""

from han.joining_window import LONGEST_PERMIT, JoiningWindow
from ota.eui64 import Eui64

FIRST, SECOND = Eui64(1), Eui64(2)


def test_a_device_is_expected_until_its_own_time_is_over():
    window = JoiningWindow()
    window.expect(FIRST, bytes(16), until=100.0)
    window.expect(SECOND, bytes(16), until=200.0)
    assert window.is_expected(FIRST, 99.9)
    assert not window.is_expected(FIRST, 100.0)
    assert [each.eui64 for each in window.expected(150.0)] == [SECOND]


def test_the_window_closes_once_and_whoever_is_expected_stays_so_for_a_dongle_that_restarts():
    window = JoiningWindow()
    window.expect(FIRST, bytes(16), until=100.0)
    window.open_until(100.0)
    assert window.timer() == 100.0
    assert window.seconds_left(0.5) == 100
    window.close()
    assert window.timer() is None
    assert window.seconds_left(0.5) == 0
    assert window.is_expected(FIRST, 0.5)


def test_what_is_left_is_never_negative_nor_more_than_a_dongle_can_be_told():
    window = JoiningWindow()
    window.open_until(1000.0)
    assert window.seconds_left(0.0) == LONGEST_PERMIT
    assert window.seconds_left(1001.0) == 0


def test_a_device_that_is_removed_is_expected_no_more():
    window = JoiningWindow()
    window.expect(FIRST, bytes(16), until=100.0)
    window.forget(FIRST)
    assert not window.is_expected(FIRST, 1.0)


def test_a_link_key_does_not_show():
    window = JoiningWindow()
    window.expect(FIRST, b"\xa5" * 16, until=100.0)
    assert "a5" not in repr(list(window.expected(0.0)))
