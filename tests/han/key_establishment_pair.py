"""Machines that establish keys with each other through octets, on one clock that only moves when told."""

import heapq
import itertools
import random

from certified import HUB, METER, credentials

from han.errors import TheirError
from han.security.key_establishment import (
    Established,
    Failed,
    KeyEstablishment,
    Send,
    Settings,
    parse_command,
)
from han.security.suite import Suite

DELAY = 0.05  # seconds on the way


class Pair:
    """The named machines, a hub and a meter by default, and the way between them.

    ``meddle`` sees each command on its way and returns what arrives: a list, empty for a loss.
    """

    def __init__(self, *, suites=(Suite.ONE,), own=None, settings=None, meddle=None, seed=0):
        self.now = 0.0
        self.meddle = meddle or (lambda sender, command: [command])
        own = own or {name: [credentials(suite, name) for suite in suites] for name in (HUB, METER)}
        settings = settings or {}
        self.machines = {
            name: KeyEstablishment(held, settings.get(name, Settings()), random.Random(f"{seed} {name}"))
            for name, held in own.items()
        }
        self.sent = []  # (at, sender, command)
        self.events = {name: [] for name in self.machines}
        self._way = []
        self._order = itertools.count()
        self._sequence = 100

    def initiate(self, sender, peer, suites=None):
        self.machines[sender].initiate(peer, self.now, suites)
        self._collect()

    def deliver(self, sender, receiver, command, sequence=1):
        """Put a command at the receiver's door now, from whomever."""
        payload = command.payload()
        machine = self.machines[receiver]
        try:
            read = parse_command(command.COMMAND_ID, command.from_server, payload)
        except TheirError as error:
            machine.receive_malformed(
                sender, command.COMMAND_ID, sequence, error, self.now, from_server=command.from_server
            )
        else:
            assert read == command
            machine.receive(sender, read, sequence, self.now)
        self._collect()

    def run(self, until=600.0):
        """Go on until nothing is under way, or that time."""
        while True:
            timers = [due for machine in self.machines.values() if (due := machine.timer()) is not None]
            due = min([*timers, *(at for at, *_ in self._way[:1])], default=None)
            if due is None or due > until:
                self.now = until if due is not None else self.now
                return
            self.now = max(self.now, due)
            if self._way and self._way[0][0] <= self.now:
                _, _, sender, receiver, command, sequence = heapq.heappop(self._way)
                self.deliver(sender, receiver, command, sequence)
            else:
                for machine in self.machines.values():
                    machine.tick(self.now)
                self._collect()

    def restart(self, name):
        """One party loses all that it was about, and what was on its way to it."""
        for peer in self.machines:
            self.machines[name].forget(peer)
        self._way = [entry for entry in self._way if entry[3] != name]
        heapq.heapify(self._way)

    def _collect(self):
        for name, machine in self.machines.items():
            for item in machine.drain():
                if isinstance(item, Send):
                    self._send(name, item)
                else:
                    self.events[name].append(item)

    def _send(self, sender, item):
        assert item.command.from_server == (item.sequence is not None)
        self._sequence += 1
        sequence = self._sequence if item.sequence is None else item.sequence
        self.sent.append((self.now, sender, item.command))
        for command in self.meddle(sender, item.command):
            entry = (self.now + DELAY, next(self._order), sender, item.peer, command, sequence)
            heapq.heappush(self._way, entry)

    def of(self, name, kind):
        return [event for event in self.events[name] if isinstance(event, kind)]

    def keys(self, name):
        return [event.link_key for event in self.of(name, Established)]

    def failures(self, name):
        return [event.status for event in self.of(name, Failed)]

    def commands(self, sender):
        return [type(command).__name__ for _, who, command in self.sent if who == sender]
