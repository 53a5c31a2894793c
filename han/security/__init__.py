"""Keys and hashes of Zigbee Smart Energy. Pure: octets in, octets out; no clock, no chance, no I/O.

Every block cipher operation is done by ``cryptography``; this package only arranges the blocks.
"""
