"""The DSP's door, over real sockets inside the process."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dcc_world import HCALCS, HUB, IHD, INVENTORY, PPMID, Broker, Hub, make_dsp, upgrade_file

from hub.dcc.client import DspAddress, DspClient
from hub.dcc.door import Door, DoorSettings
from hub.dcc.errors import TheirError
from hub.dcc.requests import ActivateFirmware, ReadFirmwareVersion, UpdateFirmware, UpdatePpmidFirmware
from hub.dcc.store import Store
from hub.errors import OurError, SurroundingsError
from hub.messages import Progress
from hub.mqtt import IN_WORDS

IMAGE = upgrade_file()


@contextlib.asynccontextmanager
async def open_door(**settings):
    broker = Broker()
    carrying = asyncio.create_task(broker.run())
    hub = Hub(broker)
    store = Store("sqlite://")
    async with make_dsp(broker, store) as dsp, Door(dsp, DoorSettings(port=0, **settings)) as door:
        dsp.enrol(INVENTORY)
        yield door, hub
    carrying.cancel()
    store.close()


async def test_a_request_goes_in_and_its_story_comes_out():
    async with open_door() as (door, _), DspClient(DspAddress(url=door.url)) as client:
        answer = await client.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID, IHD)))
        standing = await client.finished(answer.request_id)

    assert (answer.ok, answer.code) == (True, "W110401")
    assert answer.accepted == (str(PPMID),)
    assert answer.lists == {"NotApplicableFirmwareDeviceIDList": (str(IHD),)}
    assert "IHD" in answer.reasons[str(IHD)]
    assert standing.ok
    assert standing.devices[0].outcome == "activated"
    assert standing.story[0].event == "accepted"


async def test_every_service_passes_the_door():
    async with open_door() as (door, hub), DspClient(DspAddress(url=door.url)) as client:
        hub.versions[str(HCALCS)] = "01000000"
        for request in (
            UpdateFirmware(image=IMAGE, devices=(HCALCS,), firmware_version="02000000"),
            ActivateFirmware(
                device=HCALCS,
                manufacturer_image_hash=bytes(32),
                execution_time=datetime(2026, 1, 4, tzinfo=UTC),
            ),
            ReadFirmwareVersion(device=HCALCS),
        ):
            answer = await client.submit(request)
            assert answer.ok
            assert answer.service_request == request.service.value
        assert (await client.finished(answer.request_id)).devices[0].version_after == "01000000"


async def test_waiting_for_a_request_ends_with_the_wait_or_with_the_request():
    async with open_door() as (door, hub), DspClient(DspAddress(url=door.url)) as client:
        hub.holds = True
        answer = await client.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        before = asyncio.get_running_loop().time()
        standing = await client.standing(answer.request_id, wait=20)

        assert not standing.finished
        assert asyncio.get_running_loop().time() - before == pytest.approx(20, abs=1)


async def test_the_lists_of_requests_and_devices_can_be_read():
    async with open_door() as (door, _), aiohttp.ClientSession() as session:
        devices = await (await session.get(f"{door.url}/devices")).json()
        requests = await (await session.get(f"{door.url}/requests")).json()

    assert {"device": str(PPMID), "device_type": "PPMID", "hub": str(HUB)}.items() <= devices[
        0
    ].items() or any(device["device"] == str(PPMID) for device in devices)
    assert requests == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "no Service Request"),
        (b"{", "no Service Request"),
        (b"\xff\xfe", "no Service Request"),
        (b'{"surprise":' + b"[" * 99_999, "no Service Request"),
        (b'{"service_request": "12.1", "devices": ["x"]}', "service_request"),
        (b'{"service_request": "11.2", "devices": []}', "devices"),
        (b'{"service_request": "11.2", "devices": ["a", "b"]}', "one device"),
        (b'{"service_request": "11.2", "devices": ["a"], "image": "AAAA"}', "no image"),
        (b'{"service_request": "11.2", "devices": ["a"], "surprise": 1}', "surprise"),
        (b'{"service_request": "11.4", "devices": ["a"], "image": "not base64!"}', "image"),
        (b'{"service_request": "11.4", "devices": ["a"]}', "FirmwareImage is empty"),
        (b'{"service_request": "11.3", "devices": ["a"]}', "FirmwareHash"),
        (b'{"service_request": "11.3", "devices": ["a"], "manufacturer_image_hash": "zz"}', "hex"),
    ],
)
async def test_a_body_that_is_no_request_is_refused_and_names_its_field(body, field):
    async with open_door() as (door, _), aiohttp.ClientSession() as session:
        response = await session.post(f"{door.url}/request", data=body)

        assert response.status == 400
        assert field in (await response.json())["error"]
        assert await (await session.get(f"{door.url}/requests")).json() == []


async def test_a_body_beyond_all_measure_is_refused():
    async with open_door() as (door, _), aiohttp.ClientSession() as session:
        response = await session.post(f"{door.url}/request", data=bytes(16_000_000))

        assert response.status == 413


@pytest.mark.parametrize(
    "octets",
    [b"NONSENSE\r\n\r\n", b"\x16\x03\x01\x00\r\n\r\n", b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n"],
)
async def test_octets_that_are_no_http_are_answered_without_a_traceback_in_the_log(octets, caplog):
    async with open_door() as (door, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(door.url).port)
        writer.write(octets)
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()

    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", ["/", "/nothing", "/request/nobody", "/request/nobody?wait=5"])
async def test_what_is_not_there_is_not_found(path):
    async with open_door() as (door, _), aiohttp.ClientSession() as session:
        response = await session.get(door.url + path)

        assert response.status == 404
        assert "error" in await response.json()


@pytest.mark.parametrize("wait", ["-1", "x", "1e9", "nan"])
async def test_a_wait_that_is_no_time_is_refused(wait):
    async with open_door() as (door, _), aiohttp.ClientSession() as session:
        assert (await session.get(f"{door.url}/request/any?wait={wait}")).status == 400


async def test_a_web_page_is_turned_away_whatever_name_it_found():
    async with open_door() as (door, _), aiohttp.ClientSession() as session:
        page = await session.post(
            f"{door.url}/request", data=b"{}", headers={"Origin": "http://evil.example"}
        )
        rebound = await session.get(f"{door.url}/requests", headers={"Host": "evil.example"})

        assert (page.status, rebound.status) == (403, 403)


async def test_without_the_token_nobody_comes_in():
    async with open_door(token="open sesame") as (door, _):
        for token in (None, "open barley", "open sesamé"):
            async with DspClient(DspAddress(url=door.url, token=token)) as client:
                with pytest.raises(TheirError, match="token"):
                    await client.standing("any")
        async with DspClient(DspAddress(url=door.url, token="open sesame")) as client:
            with pytest.raises(TheirError, match="no request"):
                await client.standing("any")


def test_the_token_is_never_shown():
    assert "sesame" not in repr(DoorSettings(token="open sesame"))
    assert "sesame" not in repr(DspAddress(token="open sesame"))


def test_a_door_to_the_network_needs_tls_and_a_token_or_the_words():
    for lacking in ({}, {"token": "t"}, {"certificate": Path("c.pem")}, {"insecure": "yes"}):
        with pytest.raises(OurError, match="--token-file"):
            DoorSettings(host="0.0.0.0", **lacking)

    DoorSettings(host="0.0.0.0", insecure=IN_WORDS)
    DoorSettings(host="0.0.0.0", token="t", certificate=Path("c.pem"))


async def test_a_port_that_is_taken_says_so():
    async with open_door() as (door, _):
        store = Store("sqlite://")
        port = int(door.url.rpartition(":")[2])
        async with make_dsp(Broker(), store) as dsp:
            with pytest.raises(SurroundingsError, match="--listen"):
                await Door(dsp, DoorSettings(port=port)).__aenter__()
        store.close()


async def test_where_no_dsp_listens_the_client_says_what_to_do():
    async with DspClient(DspAddress(url="http://127.0.0.1:1")) as client:
        with pytest.raises(SurroundingsError, match="gbhan dsp"):
            await client.standing("any")


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1"])
async def test_an_address_that_is_none_is_refused(url):
    async with DspClient(DspAddress(url=url)) as client:
        with pytest.raises((OurError, SurroundingsError)):
            await client.standing("any")


async def test_a_certificate_that_cannot_be_read_is_our_error(tmp_path):
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(OurError, match="certificate"):
        async with open_door(certificate=tmp_path / "c.pem", key=tmp_path / "c.pem"):
            pass


@pytest.mark.asyncio(loop_factories=["ordinary"])
async def test_over_tls_only_a_client_that_knows_the_authority_talks(tmp_path):
    certificate, key = made_up_certificate(tmp_path)
    async with open_door(certificate=certificate, key=key, token="t") as (door, _):
        url = door.url.replace("127.0.0.1", "localhost")
        async with DspClient(DspAddress(url=url, token="t", authority=certificate)) as client:
            answer = await client.submit(ReadFirmwareVersion(device=IHD))
        async with DspClient(DspAddress(url=url, token="t")) as stranger:
            with pytest.raises(SurroundingsError, match="certificate"):
                await stranger.standing("any")

    assert door.url.startswith("https://")
    assert not answer.ok


def made_up_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    assert ssl.create_default_context(cafile=folder / "cert.pem")
    return folder / "cert.pem", folder / "key.pem"


async def test_whoever_waits_is_told_how_far_the_download_has_come():
    async with open_door() as (door, hub), DspClient(DspAddress(url=door.url)) as client:
        hub.holds = True
        answer = await client.submit(UpdatePpmidFirmware(image=IMAGE, devices=(PPMID,)))
        assert (await client.standing(answer.request_id)).devices[0].transfer is None
        for request, percent in (("another", 90), (answer.request_id, 40)):
            hub.say(
                Progress(
                    device=str(PPMID),
                    image_id="0" * 64,
                    request_id=request,
                    offset=percent,
                    size=100,
                    percent=percent,
                    seconds_left=6.0,
                    **hub.envelopes.stamp(),
                )
            )
            await asyncio.sleep(1.0)
            shown = (await client.standing(answer.request_id)).devices[0].transfer
            assert (None if shown is None else shown.percent) == (None if request == "another" else 40)
