"""Draws the state diagrams of the README from the machines' tables: ``make diagrams``.

Each stands between two comments that name it. Nothing else of the page is touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from ota import client_states, server_states
from ota.state_diagram import state_diagram

README = Path(__file__).parents[2] / "README.md"
MACHINES: dict[str, Mapping[Enum, Mapping[Enum, Enum]]] = {
    "client": client_states.TRANSITIONS,
    "server": server_states.TRANSITIONS,
}


def redrawn(page: str) -> str:
    """The page with every diagram as its table has it.

    Raises:
        ValueError: if there is no place for one of them on the page.
    """
    for name, table in MACHINES.items():
        place = re.compile(rf"(?<=<!-- diagram: {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
        drawn = f"```mermaid\n{state_diagram(table)}```\n"
        page, places = place.subn(lambda _, drawn=drawn: drawn, page)
        if places != 1:
            raise ValueError(f"the page has {places} places for the diagram of the {name}, not one")
    return page


if __name__ == "__main__":
    README.write_text(redrawn(README.read_text()))
