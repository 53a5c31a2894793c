"""Clusters that a laboratory wants answered without anything behind them. Pure.

A real PPMID asks its Communications Hub for prices, messages and a prepayment balance. A hub for firmware has
none, and says so; a device that will not go on without an answer can be given one from a file:

    [[stub_clusters]]
    cluster = 0x0700
    attributes = [{ id = 0x0000, type = 0x42, value = "standard" }]
    commands = [{ command = 0x00, answer = 0x00, payload = "00112233" }]
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from han.errors import OurError
from han.zcl import OCTET_STRING, AttributeRecord, AttributeValue, ReadAttributesResponse, encode_global
from ota.status import Status

_OCTET = Meta(ge=0, le=0xFF)
_SIXTEEN_BITS = Meta(ge=0, le=0xFFFF)


class StubAttribute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attribute of the server side: its ZCL data type and what it always reads.

    An octet string is written in hex.
    """

    id: Annotated[int, _SIXTEEN_BITS, Meta(description="Of the attribute.")]
    type: Annotated[int, _OCTET, Meta(description="The attribute's ZCL data type; 66 is a character string.")]
    value: Annotated[int | str, Meta(description="What it always reads; an octet string in hex.")]

    def __post_init__(self) -> None:
        """Refuse a value that is none of its type."""
        try:
            encode_global(ReadAttributesResponse((self.record,)), 0)
        except OurError as error:
            raise ValueError(str(error)) from error

    @property
    def record(self) -> AttributeRecord:
        """The attribute as it is answered."""
        value: AttributeValue = self.value
        if self.type == OCTET_STRING and isinstance(value, str):
            value = bytes.fromhex(value)
        return AttributeRecord(self.id, Status.SUCCESS, self.type, value)


class StubCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command of the client side, and the one with which it is always answered; ``payload`` in hex."""

    command: Annotated[int, _OCTET, Meta(description="Id of the client's command.")]
    answer: Annotated[int, _OCTET, Meta(description="Id of the server's command that answers it.")]
    payload: Annotated[
        str,
        Meta(pattern=r"^([0-9a-fA-F]{2})*$", max_length=2048, description="What the answer carries, in hex."),
    ] = ""


class StubCluster(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cluster whose server side is no more than these answers."""

    cluster: Annotated[int, _SIXTEEN_BITS, Meta(description="Id of the cluster.")]
    attributes: Annotated[
        tuple[StubAttribute, ...],
        Meta(
            description="What it reads.",
            examples=[(StubAttribute(id=0x0000, type=0x42, value="standard"),)],
        ),
    ] = ()
    commands: Annotated[
        tuple[StubCommand, ...],
        Meta(
            description="What it answers.", examples=[(StubCommand(command=0, answer=0, payload="00112233"),)]
        ),
    ] = ()
