"""The devices of a simulated house: PPMID, HCALCS, GSME, ESME, each a node with an OTA client and a tunnel.

`device` connects the parts and switches them on and off, `attachment` keeps the node in the network, `search`
asks what the hub serves, `establishment` sees to a link key, `firmware` decides what runs, `remote_party`
speaks GBCS, `smart_energy` holds what else a device is a client of, `kinds` says how the kinds differ and
`conduct` how one may go wrong. Decisions are made by pure machines (`ota.client`, `tunnel`, `orders`,
`activation`, `verdict`, `han.security.key_establishment`); `upgrade`, `messenger`, `questions`, `port` only
carry.
"""
