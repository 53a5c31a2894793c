"""The devices of a simulated house: PPMID, HCALCS and GSME, each a node with an OTA client and a tunnel.

`device` connects the parts and switches them on and off, `attachment` keeps the node in the network,
`firmware` decides what runs, `remote_party` speaks GBCS, `kinds` says how the kinds differ. Decisions are
made by pure machines (`ota.client`, `tunnel`, `activation`); `upgrade`, `messenger` and `port` only carry.
"""
