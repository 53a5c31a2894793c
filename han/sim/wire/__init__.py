"""Frames of the home area network: octets to immutable values and back.

``mac`` (IEEE 802.15.4), ``nwk``, ``aps`` and ``zdo`` (Zigbee) each know one layer; a layer's payload is
plain octets to it. Pure: nothing here has a state or a clock. Whatever comes from the air may be cut,
spoilt or made up: parsing raises ``WireError`` and nothing else. Reserved bits are ignored when read and
sent as zero, as the standards ask.

Every simulated octet passes through ``MacFrame``, ``NwkFrame``, ``ApsFrame`` and their seals. These are
read and written by hand and are named tuples, which take a quarter of the time that a frozen dataclass
takes to make. Commands, which are rare, are frozen dataclasses and use the slower ``Reader``.
"""
