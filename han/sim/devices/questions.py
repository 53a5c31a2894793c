"""What a device asks its hub on clusters that it uses, and the patience with which it waits for an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from han.errors import TheirError
from han.sim.air.timeline import Handle, Timeline
from han.sim.devices.port import Port
from han.zcl import (
    AttributeValue,
    ReadAttributes,
    ReadAttributesResponse,
    ZclFrame,
    decode_global,
    encode_global,
)
from ota.commands import DefaultResponse
from ota.status import Status

ANSWER_WITHIN = 10.0
"""Seconds. An APS message is given up after 6.4 s, so whatever comes later answers something else."""

_ANSWERS = (0x01, DefaultResponse.COMMAND_ID)
"""The global commands that answer: Read Attributes Response and Default Response."""

OnAnswer = Callable[[ZclFrame | None], None]
"""Called once with the answer, which may be a Default Response; with None if there is none in time."""
OnAttributes = Callable[[Mapping[int, AttributeValue] | None], None]
"""Called once with the values of those attributes that the hub has; with None if it does not answer."""


class Questions:
    """The questions of one device that are under way."""

    def __init__(self, port: Port, timeline: Timeline) -> None:
        self._port = port
        self._timeline = timeline
        self._waiting: dict[tuple[int, int], tuple[OnAnswer, Handle]] = {}

    def ask(self, cluster: int, command_id: int, payload: bytes, on_answer: OnAnswer) -> None:
        """Send a command of the cluster's client side."""
        sequence = self._port.next_sequence()
        frame = ZclFrame(command_id, sequence, payload, disable_default_response=False)
        self._send(cluster, sequence, frame.to_bytes(), on_answer)

    def read(
        self, cluster: int, attributes: tuple[int, ...], on_answer: OnAttributes, *, of_client: bool = False
    ) -> None:
        """Read attributes of the hub's server side, or of its client side."""
        sequence = self._port.next_sequence()
        frame = encode_global(ReadAttributes(attributes, from_server=of_client), sequence)
        self._send(cluster, sequence, frame, lambda answer: on_answer(_values(answer)))

    def receive(self, cluster: int, frame: ZclFrame) -> bool:
        """Take a message from the hub; False if it answers none of our questions."""
        is_answer = frame.from_server if frame.is_cluster_command else frame.command_id in _ANSWERS
        if not is_answer:
            return False  # a question of the hub's may bear the same number
        waiting = self._waiting.pop((cluster, frame.sequence), None)
        if waiting is None:
            return False
        on_answer, handle = waiting
        handle.cancel()
        on_answer(frame)
        return True

    def stop(self) -> None:
        """Forget every question: nobody is called any more."""
        for _, handle in self._waiting.values():
            handle.cancel()
        self._waiting.clear()

    def _send(self, cluster: int, sequence: int, zcl: bytes, on_answer: OnAnswer) -> None:
        key = (cluster, sequence)
        handle = self._timeline.after(ANSWER_WITHIN, self._give_up, key)
        self._waiting[key] = (on_answer, handle)
        self._port.send(cluster, zcl, partial(self._sent, key))

    def _sent(self, key: tuple[int, int], is_delivered: bool) -> None:  # noqa: FBT001 - the outcome that a port tells
        # The answer may have overtaken the acknowledgement.
        if not is_delivered and key in self._waiting:
            self._waiting[key][1].cancel()
            self._give_up(key)

    def _give_up(self, key: tuple[int, int]) -> None:
        on_answer, _ = self._waiting.pop(key)
        on_answer(None)


def _values(answer: ZclFrame | None) -> Mapping[int, AttributeValue] | None:
    if answer is None:
        return None
    try:
        command = decode_global(answer)
    except TheirError:
        return {}  # something came, and there is nothing in it
    if not isinstance(command, ReadAttributesResponse):
        return {}
    return {
        record.attribute: record.value
        for record in command.records
        if record.status is Status.SUCCESS and record.value is not None
    }
