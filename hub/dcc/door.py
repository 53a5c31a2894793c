"""The DSP's door: a small HTTP service through which ``gbhan request`` and other programs reach it.

``POST /request`` takes a Service Request, ``GET /request/ID`` tells how one stands (``?wait=SECONDS`` waits
for its end), ``GET /requests`` and ``GET /devices`` list. It opens on this machine only, unless TLS and a
token are given. A browser is turned away: a web page must not be able to send Service Requests through its
reader's machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hub.dcc import contract
from hub.dcc.dsp import Dsp
from hub.dcc.errors import TheirError
from hub.dcc.requests import MAXIMUM_IMAGE
from hub.errors import OurError, SurroundingsError
from hub.mqtt import IN_WORDS, is_loopback

_LARGEST_BODY = MAXIMUM_IMAGE * 4 // 3 + 2_000_000
"""Octets: the largest image in base64 and the longest DeviceIDList."""

_LONGEST_WAIT = 3600.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """Where the door is and who may come in.

    Attributes:
        port: 0 takes any free one.
        token: what a client must say in ``Authorization: Bearer``; None asks nothing, on this machine only.
        certificate, key: files (PEM) for TLS.
        insecure: the words of `hub.mqtt.IN_WORDS` open the door to the network without TLS and token.
    """

    host: str = "127.0.0.1"
    port: int = 8417
    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    insecure: str = ""

    def __post_init__(self) -> None:
        if is_loopback(self.host) or self.insecure == IN_WORDS:
            return
        if self.certificate is None or not self.token:
            raise OurError(
                f"{self.host} can be reached from other machines: give --tls-cert, --tls-key, --token-file,"
                f" or say --insecure {IN_WORDS!r} in so many words"
            )


def _is_ours(record: logging.LogRecord) -> bool:
    """Octets that are no HTTP are the sender's mistake: aiohttp answers 400, and would log a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


_LOG = logging.getLogger("gbhan.door")
_LOG.addFilter(_is_ours)


class Door:
    """The HTTP service, open inside ``async with Door(...)``.

    Raises:
        OurError: on entering, if certificate or key cannot be used.
        SurroundingsError: on entering, if the address is taken.
    """

    def __init__(self, dsp: Dsp, settings: DoorSettings) -> None:
        self._dsp = dsp
        self._settings = settings
        application = web.Application(client_max_size=_LARGEST_BODY, middlewares=[self._guard])
        application.add_routes(
            [
                web.post("/request", self._submit),
                web.get("/request/{id}", self._standing),
                web.get("/requests", self._list),
                web.get("/devices", self._devices),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, logger=_LOG, shutdown_timeout=1.0)
        self.url = ""

    async def __aenter__(self) -> Self:
        """Open; ``url`` is then where."""
        settings = self._settings
        tls = self._tls()
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, settings.host, settings.port, ssl_context=tls).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SurroundingsError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): another program may"
                " hold the port; stop it or give another --listen"
            ) from None
        port = self._runner.addresses[0][1]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"{'https' if tls else 'http'}://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; whoever still waits for a request's end is hung up on."""
        await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._settings.certificate, self._settings.key)
        except OSError as error:  # ssl.SSLError is one
            raise OurError(f"the TLS certificate or key cannot be used: {error}") from None
        return context

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Turn away who may not come in; translate errors of theirs to their status."""
        refusal = self._refusal(request)
        if refusal is not None:
            status, why = refusal
            return _json(contract.Failure(error=why), status)
        try:
            return await handler(request)
        except TheirError as error:
            return _json(contract.Failure(error=str(error)), error.status)
        except web.HTTPException as error:
            return _json(contract.Failure(error=error.reason), error.status)

    def _refusal(self, request: web.Request) -> tuple[int, str] | None:
        if "Origin" in request.headers:
            return 403, "this door is not for web pages"
        # A name that an attacker's DNS points at this machine must not lead a browser here either.
        if is_loopback(self._settings.host) and not is_loopback(request.url.host or ""):
            return 403, "this door answers to the name of this machine only"
        token = self._settings.token
        said = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token is not None and not hmac.compare_digest(said.encode(), token.encode()):
            return 401, "the token is missing or wrong: give --token-file"
        return None

    async def _submit(self, request: web.Request) -> web.Response:
        response = await self._dsp.submit(contract.read_asked(await request.read()))
        return _json(contract.answered(response))

    async def _standing(self, request: web.Request) -> web.Response:
        request_id = request.match_info["id"]
        wait = _seconds(request.query.get("wait", "0"))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._dsp.finished(request_id)
            outcome = self._dsp.outcome(request_id)
        except OurError as error:
            raise TheirError(str(error), status=404) from None
        return _json(contract.standing(outcome, self._dsp.story(request_id), self._dsp.download))

    async def _list(self, _request: web.Request) -> web.Response:
        return _json(self._dsp.request_ids())

    async def _devices(self, _request: web.Request) -> web.Response:
        return _json(contract.inventory(self._dsp.devices()))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_WAIT:
        raise TheirError(f"wait is a number of seconds from 0 to {_LONGEST_WAIT:g}")
    return seconds


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
