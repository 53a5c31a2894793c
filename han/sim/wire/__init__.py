"""Frames of the home area network: octets to frozen dataclasses and back.

``mac`` (IEEE 802.15.4), ``nwk``, ``aps`` and ``zdo`` (Zigbee) each know one layer; a layer's payload is
plain octets to it. Pure: nothing here has a state or a clock. Whatever comes from the air may be cut,
spoilt or made up: parsing raises ``WireError`` and nothing else. Reserved bits are ignored when read and
sent as zero, as the standards ask.

The frames of data transfer (``MacFrame``, ``NwkFrame``, ``ApsFrame`` and their seals) are read and written
by hand, because every simulated octet passes through them; commands, which are rare, use the slower
``Reader``.
"""
