"""Wireshark's command line as a witness: what it reads in a capture, and what it finds wrong with it."""

import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from han.sim.air.capture import read_keys

Row = dict[
    str, list[str]
]  # the values of each field asked for, in the order of their appearance in the frame

# Malformed, a bad check sequence, sealed with a key that is not there, or anything that Wireshark warns of.
FAULTY = (
    "_ws.malformed || wpan.fcs_ok == 0 || zbee_sec.encrypted_payload || zbee_sec.extended_source_unknown"
    ' || _ws.expert.severity == "Warning" || _ws.expert.severity == "Error"'
)


class Tshark:
    """Runs tshark with a configuration of its own: a user's preferences do not change its answers."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._home = home

    @property
    def environment(self) -> dict[str, str]:
        """What the program may know of its surroundings."""
        return {**os.environ, "HOME": str(self._home), "XDG_CONFIG_HOME": str(self._home)}

    def command(self, *arguments: str) -> list[str]:
        """A command line of the program."""
        return [str(self._program), *arguments]

    def rows(
        self,
        capture: Path | IO[bytes],
        fields: Sequence[str],
        *,
        keys: Path | None = None,
        where: str = "",
        options: Sequence[str] = (),
    ) -> list[Row]:
        """These fields of every frame that the display filter ``where`` lets through.

        ``capture`` may be a pipe: it is read while it is written.
        """
        source = str(capture) if isinstance(capture, Path) else "-"
        command = [*self.command("-n", "-r", source, *options), "-T", "fields", "-E", "aggregator=|"]
        # The key file's format is ours; Wireshark takes each key with its octet order and a label.
        for key, label in read_keys(keys) if keys else ():
            command += ["-o", f'uat:zigbee_pc_keys:"{key.hex(":")}","Normal","{label}"']
        for field in fields:
            command += ["-e", field]
        if where:
            command += ["-Y", where]
        done = subprocess.run(
            command,
            check=False,
            stdin=None if isinstance(capture, Path) else capture,
            capture_output=True,
            text=True,
            timeout=300,
            env=self.environment,
        )
        if done.returncode:
            raise AssertionError(f"tshark refused the capture: {done.stderr.strip()}")
        return [
            {
                field: value.split("|") if value else []
                for field, value in zip(fields, line.split("\t"), strict=True)
            }
            for line in done.stdout.splitlines()
        ]

    def faults(self, capture: Path, keys: Path) -> list[str]:
        """One line for each frame that is malformed, spoilt, cannot be decrypted, or worth a warning."""
        rows = self.rows(
            capture, ["frame.number", "frame.protocols", "_ws.expert.message"], keys=keys, where=FAULTY
        )
        return [" ".join(_flat(row.values())) for row in rows]


def _flat(lists: Iterable[list[str]]) -> Iterable[str]:
    return (item for items in lists for item in items)
