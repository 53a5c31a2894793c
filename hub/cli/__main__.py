"""``python -m hub.cli``: the same program as ``gbhan``."""

from hub.cli import entry

entry()
