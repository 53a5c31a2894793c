"""A home file is read strictly: what is wrong in it is named, and its secrets never are."""

from __future__ import annotations

from pathlib import Path

import pytest

from han.sim.home import HomeError, Kind, Quirks, home_names, parse_home, read_home
from ota.eui64 import Eui64

HOMES = Path(__file__).parents[2] / "fixtures" / "homes"
CODE = "19a47e1e70bcc9515adfa480fc2f8bf3c1b2"

HOME = f"""
name = "test"
[dongle]
eui64 = "00-DB-12-34-56-78-90-A2"
[[devices]]
kind = "PPMID"
name = "ppmid"
eui64 = "00-DB-12-34-56-78-90-A4"
install_code = "{CODE}"
image_type = 0x84
file_version = 1
"""

SECOND = f"""
[[devices]]
kind = "HCALCS"
name = "hcalcs"
eui64 = "00-DB-12-34-56-78-90-A5"
install_code = "{CODE}"
image_type = 0x42
file_version = 1
"""


def test_a_home_names_its_dongle_and_its_devices():
    home = parse_home((HOME + SECOND).encode())

    assert Eui64.parse("00-DB-12-34-56-78-90-A2") == home.dongle.eui64
    assert [(device.kind, device.name) for device in home.devices] == [
        (Kind.PPMID, "ppmid"),
        (Kind.HCALCS, "hcalcs"),
    ]
    assert home.devices[0].install_code == bytes.fromhex(CODE)


def test_what_is_left_out_has_a_documented_default():
    home = parse_home(HOME.encode())

    assert (home.channel, home.seed, home.dongle.ezsp, home.dongle.baud) == (None, 1, 13, 115_200)
    assert home.dongle.behaves is Quirks.REAL
    assert home.devices[0].manufacturer == 0x121D
    assert home.devices[0].hardware_version is None
    assert home.devices[0].seconds_between_queries == 86_400.0
    assert (home.devices[0].page_size, home.devices[0].acknowledged) == (None, True)
    assert home.devices[0].seconds_between_page_blocks == 0.05


def test_a_gsme_asks_by_itself_because_its_radio_sleeps_through_a_notify():
    home = parse_home((HOME + SECOND.replace("HCALCS", "GSME")).encode())

    assert not home.devices[1].is_reached_by_notify
    assert home.devices[1].seconds_between_queries == 6 * 3600.0
    assert home.devices[0].is_reached_by_notify


def test_an_esme_is_told_by_notify_and_asks_daily_besides():
    esme = parse_home((HOME + SECOND.replace("HCALCS", "ESME")).encode()).devices[1]

    assert esme.is_reached_by_notify
    assert esme.seconds_between_queries == 86_400.0


@pytest.mark.parametrize(
    ("kind", "setting", "tells"),
    [
        ("ESME", "", True),
        ("GSME", "", True),
        ("HCALCS", "", False),
        ("PPMID", "", False),
        ("HCALCS", "receipt_alert = true\n", True),
        ("GSME", "receipt_alert = false\n", False),
    ],
)
def test_meters_send_receipt_alerts_and_an_hcalcs_where_its_home_says_so(kind, setting, tells):
    home = parse_home((HOME + SECOND.replace("HCALCS", kind) + setting).encode())

    assert home.devices[1].tells_receipt is tells


@pytest.mark.parametrize("name", home_names())
def test_every_home_in_the_package_can_be_used(name):
    assert read_home(name).name == name


def test_the_home_of_the_demo_holds_one_of_each_and_a_silent_ppmid():
    devices = read_home("demo").devices

    assert sorted((device.kind.value, device.silent) for device in devices) == [
        ("ESME", False),
        ("GSME", False),
        ("HCALCS", False),
        ("PPMID", False),
        ("PPMID", True),
    ]


def test_a_home_can_be_a_file_anywhere(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(HOME)

    assert read_home(str(path)).name == "test"


def test_an_install_code_never_shows_itself():
    home = parse_home(HOME.encode())

    for text in (
        repr(home),
        str(home),
        repr(home.devices[0].install_code),
        f"{home.devices[0].install_code}",
    ):
        assert CODE not in text.lower()
        assert str(bytes.fromhex(CODE)) not in text


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('kind = "PPMID"', 'kind = "PPMID"\nprofile = "zll"', "'zll' - at `$.devices[0].profile`"),
        ('kind = "PPMID"', 'kind = "IHD"', "'IHD' - at `$.devices[0].kind`"),
        ('name = "ppmid"', 'name = "The Big One"', "$.devices[0].name"),
        ("image_type = 0x84", "image_type = 0x10000", "<= 65535 - at `$.devices[0].image_type`"),
        ("image_type = 0x84", "image_typ = 0x84", "unknown field `image_typ`"),
        ("file_version = 1", 'file_version = "1"', "$.devices[0].file_version"),
        ("file_version = 1", "", "needs the file_version of the firmware"),
        ("78-90-A4", "78-90", "is no EUI-64"),
        ('"00-DB-12-34-56-78-90-A4"', "5", "text in quotes"),
        ("78-90-A4", "78-90-A2", "has the EUI-64 of the dongle"),
        ("[dongle]", "channel = 27\n[dongle]", "<= 26 - at `$.channel`"),
        ("[dongle]", "[dongle]\nezsp = 15", "15 - at `$.dongle.ezsp`"),
        ("[dongle]", '[dongle]\nbehaves = "nice"', "'nice'"),
        ("file_version = 1", 'file_version = 1\nsupplier_key = "04ab"', "$.devices[0].supplier_key"),
        ("file_version = 1", 'file_version = 1\ncertificate = "ca"', "'ca'"),
        ("file_version = 1", "file_version = 1\nsuites = []", "$.devices[0].suites"),
        ("file_version = 1", "file_version = 1\nsuites = [3]", "3 - at `$.devices[0].suites[0]`"),
        ("file_version = 1", "file_version = 1\nsuites = [2, 2]", "names a suite twice"),
        ("file_version = 1", "file_version = 1\nupgrades_together = true", "write its parts beside"),
        (
            "file_version = 1",
            "file_version = 1\ncluster_revision = 4",
            "4 - at `$.devices[0].cluster_revision`",
        ),
        (
            "file_version = 1",
            "file_version = 1\nparts = [{image_type = 0x84, file_version = 1}]",
            "two parts of one image_type",
        ),
        ("file_version = 1", "file_version = 1\nresponse_spacing = 0.3", "write a page_size beside"),
        ("file_version = 1", "file_version = 1\npage_size = 65536", "<= 65535 - at `$.devices[0].page_size`"),
        ("file_version = 1", "file_version = 1\nacknowledged = 1", "$.devices[0].acknowledged"),
        ("[[devices]]", "[[devices]", "line"),
        ("[dongle]", "x = " + 5000 * "[", "recursion"),
        (CODE, "words", "consists of hex digits"),
        (CODE, CODE[:-2] + "00", "$.devices[0].install_code"),
        (CODE, CODE[:-2], "$.devices[0].install_code"),
    ],
)
def test_a_mistake_in_a_home_is_named_with_its_place(before, after, says):
    assert before in HOME
    with pytest.raises(HomeError, match="cottage") as caught:
        parse_home(HOME.replace(before, after, 1).encode(), source="cottage.toml")

    assert says in str(caught.value)
    assert CODE[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (SECOND.replace('"hcalcs"', '"ppmid"'), "both called 'ppmid'"),
        (SECOND.replace("90-A5", "90-A4"), "has the EUI-64 of 'ppmid'"),
        (SECOND + "silent = true\n", "only a PPMID can be silent"),
        (SECOND + 'profile = "home-automation"\n', "activates by a GBCS message only"),
        (
            SECOND.replace("HCALCS", "ESME") + 'profile = "home-automation"\n',
            "activates by a GBCS message only",
        ),
        (SECOND.replace("HCALCS", "ESME") + "sleeps = true\n", "never sleeps"),
        (SECOND.replace("HCALCS", "PPMID") + "receipt_alert = true\n", "so no receipt_alert"),
        (SECOND.replace("HCALCS", "ROUTER") + "receipt_alert = false\n", "so no receipt_alert"),
    ],
)
def test_two_devices_that_cannot_live_in_one_house_are_refused(second, says):
    with pytest.raises(HomeError, match=says):
        parse_home((HOME + second).encode())


def test_a_ppmid_has_no_supplier_key():
    with pytest.raises(HomeError, match="carry no signature"):
        parse_home((HOME + f'supplier_key = "04{"ab" * 64}"\n').encode())


def test_a_home_that_does_not_exist_is_refused_with_the_names_of_those_that_do():
    with pytest.raises(HomeError, match="demo, ppmid, or give a path"):
        read_home("villa")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HomeError, match=r"nowhere\.toml: cannot be read"):
        read_home(str(tmp_path / "nowhere.toml"))


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(HomeError, match="home: "):
        parse_home(b"\xff\xfe\x00")


LINKS = """
[[links]]
between = ["dongle", "ppmid"]
lqi = 120
[[links]]
between = ["ppmid", "hcalcs"]
"""


def test_a_home_without_links_is_one_room_in_which_routers_say_nothing_of_them():
    home = parse_home((HOME + SECOND).encode())

    assert (home.links, home.seconds_between_link_statuses) == ((), 0.0)


def test_a_home_with_links_says_who_hears_whom_and_how_well():
    home = parse_home((HOME + SECOND + LINKS).encode())

    assert [(link.between, link.lqi) for link in home.links] == [
        (("dongle", "ppmid"), 120),
        (("ppmid", "hcalcs"), 255),
    ]
    assert home.seconds_between_link_statuses == 15.0


def test_a_range_extender_needs_no_firmware():
    text = HOME.replace('"PPMID"', '"ROUTER"').replace("image_type = 0x84\nfile_version = 1\n", "")
    [router] = parse_home(text.encode()).devices

    assert router.kind is Kind.ROUTER
    assert not router.is_reached_by_notify


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HOME.replace("image_type = 0x84", ""), "needs its image_type"),
        (HOME.replace("file_version = 1", ""), "needs the file_version"),
        (HOME.replace('name = "ppmid"', 'name = "dongle"'), "links call the hub's radio that"),
        (HOME + LINKS, "a link names 'hcalcs': there are dongle, ppmid"),
        (HOME + SECOND + '[[links]]\nbetween = ["ppmid"]', "length >= 2"),
        (HOME + SECOND + '[[links]]\nbetween = ["ppmid", "ppmid"]', "names a radio twice"),
        (
            HOME + SECOND + '[[links]]\nbetween = ["ppmid", "dongle", "hcalcs"]\none_way = true',
            "a one-way link has two ends",
        ),
        (HOME + SECOND + '[[links]]\nbetween = ["ppmid", "dongle"]\nlqi = 0', ">= 1"),
    ],
)
def test_a_home_with_links_or_firmware_that_cannot_be_is_refused(text, complaint):
    with pytest.raises(HomeError, match=complaint):
        parse_home(text.encode())


def test_a_device_is_honest_unless_its_file_gives_it_another_personality():
    plain, peculiar = parse_home((HOME + SECOND + 'personality = "takes-40"').encode()).devices

    assert (plain.personality, peculiar.personality) == ("honest", "takes-40")


def test_an_unknown_personality_is_refused_with_the_list_of_those_that_there_are():
    with pytest.raises(
        HomeError, match="'ppmid' has the personality 'surly': there are honest, takes-40, "
    ) as no:
        parse_home((HOME + 'personality = "surly"').encode())

    assert "no-version-attribute" in str(no.value)


def test_a_personality_is_written_as_text():
    with pytest.raises(HomeError, match="personality"):
        parse_home((HOME + "personality = 40").encode())


def test_a_range_extender_has_no_personality_because_it_has_no_firmware():
    text = HOME.replace('"PPMID"', '"ROUTER"') + 'personality = "takes-40"'

    with pytest.raises(HomeError, match="'ppmid' is a ROUTER: it has no firmware, so no personality"):
        parse_home(text.encode())


@pytest.mark.parametrize("path", sorted(HOMES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_home_that_ships_can_be_read_and_says_on_top_what_it_is(path):
    home = read_home(str(path))
    text = path.read_text(encoding="utf-8")

    assert home.devices
    assert text.startswith("# ")
    assert "made up" in text.split("\n\n", maxsplit=1)[0]


def test_in_every_home_that_ships_somebody_hears_each_device():
    for path in HOMES.glob("*.toml"):
        home = read_home(str(path))
        heard = {name for link in home.links for name in link.between}
        assert not home.links or {device.name for device in home.devices} | {"dongle"} == heard
