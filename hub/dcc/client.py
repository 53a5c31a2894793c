"""Reaching a running DSP stub through its door."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from hub.dcc import contract
from hub.dcc.errors import TheirError
from hub.dcc.requests import ServiceRequest
from hub.errors import OurError, SurroundingsError

T = TypeVar("T")

_WAIT = 300.0
"""Seconds of waiting for an outcome in one question; then it is asked again."""

_PATIENCE = 30.0
"""Seconds for any other answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DspAddress:
    """Where a DSP stub listens, what it wants to hear, and which authority vouches for it (PEM)."""

    url: str = "http://127.0.0.1:8417"
    token: str | None = field(default=None, repr=False)
    authority: Path | None = None


class DspClient:
    """A Service User's connection to the DSP stub. Use it as ``async with DspClient(address) as dsp``."""

    def __init__(self, address: DspAddress) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Prepare; nothing is sent yet.

        Raises:
            OurError: if the authority's file cannot be used.
        """
        headers = {}
        if self._address.token:
            headers["Authorization"] = f"Bearer {self._address.token}"
        context = None
        if self._address.authority is not None:
            try:
                context = ssl.create_default_context(cafile=self._address.authority)
            except OSError as error:  # ssl.SSLError is one
                raise OurError(f"the authority's file cannot be used: {error}") from None
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True)
        self._session = aiohttp.ClientSession(headers=headers, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        assert self._session is not None
        await self._session.close()

    async def submit(self, request: ServiceRequest) -> contract.Answered:
        """Send a Service Request.

        Raises:
            TheirError: if the DSP stub refuses to take it; the text is its reason.
            SurroundingsError: if nobody answers.
        """
        body = msgspec.json.encode(contract.asked(request))
        return await self._ask("POST", "/request", contract.Answered, body=body)

    async def standing(self, request_id: str, wait: float = 0.0) -> contract.Standing:
        """How a request stands, after so many seconds at most if it has not ended before."""
        path = f"/request/{quote(request_id, safe='')}?wait={wait:g}"
        return await self._ask("GET", path, contract.Standing, patience=wait + _PATIENCE)

    async def finished(
        self,
        request_id: str,
        *,
        watch: Callable[[contract.Standing], None] | None = None,
        look_every: float = _WAIT,
    ) -> contract.Standing:
        """Wait until a request has ended; ``watch`` is told every so many seconds how it stands."""
        while True:
            standing = await self.standing(request_id, look_every)
            if watch is not None:
                watch(standing)
            if standing.finished:
                return standing

    async def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: bytes | None = None,
        patience: float = _PATIENCE,
    ) -> T:
        assert self._session is not None
        headers = {} if body is None else {"Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=patience)
        url = self._address.url.rstrip("/") + path
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=timeout
            ) as response:
                return _read(response.status, await response.read(), kind)
        except aiohttp.InvalidURL:
            raise OurError(f"{self._address.url!r} is no address: write http://127.0.0.1:8417") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SurroundingsError(
                f"no DSP stub answers at {self._address.url} ({_cause(error)}): start one with gbhan dsp, or"
                " give another --dsp"
            ) from None


def _read(status: int, body: bytes, kind: type[T]) -> T:
    try:
        if status != 200:
            raise TheirError(msgspec.json.decode(body, type=contract.Failure).error, status)
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise SurroundingsError(
            f"what answers there is no DSP stub (HTTP {status}, {error}): give another --dsp"
        ) from None


def _cause(error: Any) -> str:  # noqa: ANN401 - whatever the library raised
    return str(error) or type(error).__name__
