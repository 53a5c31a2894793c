"""A Zigbee node on a simulated air: MAC, NWK, APS, Device Objects, joining, Trust Centre.

``node.Node`` is what a user builds; ``service`` holds what it can be asked and what it tells.
"""
