"""What may become of an ask of the dongle, in our words; and how bellows' words become ours, in one place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from bellows.ash import NcpFailure
from bellows.exception import EzspError
from bellows.types import sl_Status
from zigpy.exceptions import ControllerException, DeliveryError

from han.errors import HanError, OurError

BUSY = (
    sl_Status.ZIGBEE_MAX_MESSAGE_LIMIT_REACHED,
    sl_Status.BUSY,
    sl_Status.NO_MORE_RESOURCE,
    sl_Status.ALLOCATION_FAILED,
    sl_Status.FULL,
)
"""How a dongle says that it has no room for another message."""
_DOWN = (sl_Status.NETWORK_DOWN, sl_Status.NOT_JOINED)


class DeliveryFailed(HanError):  # noqa: N818 - it names what happened, in the words of the field
    """The device did not acknowledge the message. It may have received it all the same."""


class PayloadTooLong(OurError):  # noqa: N818 - as above
    """The message does not fit one frame, or not as many as it may have; nothing was sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size} octets are too many for one message: {limit} fit")
        self.size = size
        self.limit = limit


class UnknownDevice(OurError):  # noqa: N818 - as above
    """The device was not admitted, or has not joined yet; nothing was sent."""


class RadioGone(HanError):  # noqa: N818 - as above
    """There is no working dongle at the moment; the coordinator keeps looking for it."""


class KeyNotSwitched(HanError):  # noqa: N818 - as above
    """The network goes on under the network key that it had, as far as known."""


class RadioBusy(HanError):  # noqa: N818 - as above
    """The dongle has no room for another message, which has not arrived. Try again in a moment."""


class NotSecured(HanError):  # noqa: N818 - as above
    """The message needs the link key that has not been established with its device; nothing was sent."""


@contextlib.contextmanager
def translated(size: int, *, is_lost: Callable[[], bool]) -> Iterator[None]:
    """Turn what bellows and zigpy raise while they talk to the dongle into the errors of this module.

    Args:
        size: of what is sent, in octets.
        is_lost: whether the dongle has gone meanwhile. bellows drops its inner parts when it does: what looks
            like a mistake of ours then means no more than that.
    """
    try:
        yield
    except DeliveryError as error:
        match error.status:
            case sl_Status.MESSAGE_TOO_LONG:
                raise PayloadTooLong(size, size - 1) from error
            case status if status in BUSY:
                raise RadioBusy("the dongle has no room for another message") from error
            case status if status in _DOWN:
                raise RadioGone("the dongle's network is down") from error
            case _:
                raise DeliveryFailed(str(error)) from error
    except TimeoutError as error:
        raise DeliveryFailed("the dongle did not say in time how the message went") from error
    except (EzspError, NcpFailure, ControllerException) as error:
        raise RadioGone(f"the dongle is gone ({error})") from error
    except (AttributeError, RuntimeError) as error:
        if not is_lost():
            raise
        raise RadioGone("the dongle went away under way") from error
