"""The demo from curtain to curtain: home and evidence prepared, story told, evidence checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

from han.clock import Utc
from han.complaints import hear_complaints
from han.facts import Fact, Facts, write_facts
from han.gbcs.parties import ACCESS_CONTROL_BROKER, SUPPLIER
from han.sim.air.capture import KeyFile
from han.sim.home import Home
from han.sim.house import House
from hub.demo import evidence
from hub.demo.evidence import Places
from hub.demo.images import Supplier
from hub.demo.report import Report
from hub.demo.stage import Chance, Stage, open_stage, prepared_home
from hub.demo.story import CAST, Story
from hub.demo.telling import Telling
from hub.demo.updates import Updates
from hub.parties import write_parties


@dataclass(frozen=True, slots=True)
class Performance:
    """What to perform.

    Attributes:
        chance: seed and losses.
        places: where the evidence goes.
        home: the house. With the devices of the demo's own the demo's story is told; in any other one, every
            device is updated.
        image: an upgrade file for the PPMID's first update, instead of a made one.
        listeners: called with every fact.
        follow: entered with the house before anything happens in it, and left when all is over.
    """

    chance: Chance
    places: Places
    home: Home
    image: bytes | None = None
    listeners: tuple[Callable[[Fact], None], ...] = ()
    follow: Callable[[House], AbstractContextManager[None]] = lambda _: nullcontext()

    @property
    def has_cast(self) -> bool:
        """Whether the devices of the demo's own story are there."""
        return {device.name for device in self.home.devices} >= CAST

    async def run(self) -> Report:
        """Perform on the running (virtual) loop; the report's ``wall_seconds`` is left to the caller.

        Raises:
            SurroundingsError: if the evidence cannot be written.
        """
        self.places.prepare()
        loop = asyncio.get_running_loop()
        facts = Facts(loop.time)
        hear_complaints(loop, facts)
        report = Report(seed=self.chance.seed)
        supplier = Supplier()
        home = prepared_home(self.home, supplier, self.image)
        with ExitStack() as files:
            for listener in self.listeners:
                facts.subscribe(listener)
            if self.places.facts is not None:
                files.callback(write_facts(facts, files.enter_context(self.places.facts.open("w"))))
            house = House(
                home,
                facts=facts,
                utc=Utc(loop).at,
                seed=self.chance.seed,
                loss=self.chance.loss,
                serial_loss=self.chance.serial_loss,
            )
            house.run_on(loop)
            files.callback(house.stop)
            keys = files.enter_context(KeyFile(self.places.keys))
            capture = house.capture(files.enter_context(evidence.open_alone(self.places.capture)))
            house.write_keys(keys)
            files.enter_context(self.follow(house))
            async with open_stage(house, self.chance, report=report, facts=facts, supplier=supplier) as stage:
                story = Story(stage, ppmid_image=self.image) if self.has_cast else Updates(stage)
                await story.run()
            report.virtual_seconds = round(loop.time(), 6)
            report.frames = capture.frames
        self._close(stage, story, report)
        return report

    def _close(self, stage: Stage, story: Telling, report: Report) -> None:
        """Check the evidence against what was served, and write the rest of it."""
        finished = {row.image for row in report.requests if row.blocks and row.ok}
        served = [file for file in stage.files if file.image_id in finished]
        report.rebuilt = evidence.rebuild(self.places, served, stage.addresses)
        report.unmet = list(story.unmet)
        for file in served:
            whole = [row for row in report.rebuilt if row.image == file.image_id]
            if not whole or not all(row.matches for row in whole):
                report.unmet.append(f"the capture gives back {file.name} as it was served")
        report.ok = not report.unmet
        if self.places.images is not None:
            evidence.write_images(self.places.images, stage.files)
        if self.places.gbcs is not None:
            evidence.write_messages(self.places.gbcs, report.messages)
        if self.places.parties is not None:
            devices = [device.eui64 for device in stage.described.values()]
            write_parties(self.places.parties, (ACCESS_CONTROL_BROKER, SUPPLIER, stage.hub_eui64, *devices))
        if self.places.wireshark is not None:
            evidence.write_wireshark_settings(self.places.wireshark, self.places.keys)


def scratch_places(folder: Path, *, capture: Path | None, keys: Path | None, facts: Path | None) -> Places:
    """Only what was asked for by name; the closing check's files go to ``folder`` otherwise."""
    return Places(capture=capture or folder / "demo.pcap", keys=keys or folder / "demo.keys", facts=facts)
