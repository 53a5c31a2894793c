"""What a house leaves behind: a capture to the octet the same for the same seed, and keys that open it."""

from __future__ import annotations

import io

from house_world import NETWORK_KEY, World, image_for

from han.security.install_code import link_key
from han.sim.air.capture import KeyFile, read_keys, read_pcap
from han.sim.air.rebuild import rebuild_images
from han.sim.devices.errands import ERRANDS

FORTNIGHT = 14 * 24 * 3600.0


def update(world: World) -> bytes:
    """Move in and update the PPMID; the file."""
    world.move_in()
    data = image_for(world, "ppmid")
    world.hub.offer(data, "ppmid")
    world.run_until("device.activated", "ppmid")
    world.run(30.0)
    return data


def capture_of(seed: int) -> bytes:
    world = World(seed=seed)
    capture = io.BytesIO()
    world.house.capture(capture)
    update(world)
    return capture.getvalue()


def test_the_same_seed_gives_the_same_capture_to_the_octet():
    assert capture_of(5) == capture_of(5)
    assert capture_of(5) != capture_of(6)


def test_keys_and_capture_give_back_the_file(tmp_path):
    world = World()
    capture = io.BytesIO()
    world.house.capture(capture)
    with KeyFile(tmp_path / "keys") as keys:
        world.house.write_keys(keys)
        data = update(world)
    capture.seek(0)
    known = [key for key, _ in read_keys(tmp_path / "keys")]

    assert NETWORK_KEY in known
    assert list(rebuild_images(read_pcap(capture), known, source=0x0000).values()) == [data]


def test_a_key_file_that_comes_late_gets_the_network_key_at_once(tmp_path):
    world = World()
    world.move_in()
    with KeyFile(tmp_path / "keys") as keys:
        world.house.write_keys(keys)

    assert NETWORK_KEY in [key for key, _ in read_keys(tmp_path / "keys")]


def test_the_keys_that_devices_establish_are_in_the_key_file_under_their_names(tmp_path):
    world = World()
    with KeyFile(tmp_path / "keys") as keys:
        world.house.write_keys(keys)
        world.move_in()
        world.hub.keys.initiate(world["ppmid"].eui64)
        world.run(10.0)
    known = read_keys(tmp_path / "keys")

    assert [label for _, label in known].count("link key of ppmid") == 3  # one by install code
    for device in world.house.devices.values():
        assert (device.memory.established_key, f"link key of {device.name}") in known


def test_the_key_file_too_is_the_same_for_the_same_seed(tmp_path):
    def written(name: str) -> bytes:
        world = World()
        with KeyFile(tmp_path / name) as keys:
            world.house.write_keys(keys)
            world.move_in()
        return (tmp_path / name).read_bytes()

    assert written("one") == written("other")


def test_a_network_key_that_is_switched_is_in_the_key_file_too(tmp_path):
    world = World()
    with KeyFile(tmp_path / "keys") as keys:
        world.house.write_keys(keys)
        world.move_in()
        store = world["ppmid"].memory.node
        store.alternate_keys[1] = bytes(range(16))
        store.switch_key(1)

    assert bytes(range(16)) in [key for key, _ in read_keys(tmp_path / "keys")]


def test_a_captures_times_are_utc():
    world = World()
    capture = io.BytesIO()
    world.house.capture(capture)
    world.move_in()
    capture.seek(0)
    first, _ = next(read_pcap(capture))

    assert 1_767_571_200 <= first < 1_767_571_204  # 2026-01-05T00:00:00Z, and a device's power-on


def test_no_fact_holds_a_key_or_an_install_code():
    world = World()
    update(world)
    story = "\n".join(fact.to_json() for fact in world.facts).lower()

    assert NETWORK_KEY.hex() not in story
    for description in world.house.home.devices:
        assert bytes(description.install_code).hex() not in story
        assert link_key(description.install_code).hex() not in story


def test_an_idle_fortnight_needs_few_frames():
    world = World()
    world.move_in()
    world.run(3600.0)
    before = world.house.air.flights
    world.run(FORTNIGHT)
    a_query = 4 * 2  # request, response, an acknowledgement for each; and those of the MAC
    queries = 3 * 14 + 4 * 14  # three devices daily, the GSME every six hours
    an_errand = 2 * 2  # this hub acknowledges and does not answer
    errands = 14 * sum(len(ERRANDS[device.description.kind]) for device in world.house.devices.values())

    assert world.house.air.flights - before <= queries * a_query + errands * an_errand + 200
