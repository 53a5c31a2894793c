"""The benchmark: what a download takes on the virtual air and on this machine, beside physics and peers.

Nothing here is part of a running hub. Like the demo, it plays in the simulation and may import it.
"""
