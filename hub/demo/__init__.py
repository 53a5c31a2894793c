"""The demo: the whole job in one process on the virtual loop, told in lines and left behind as evidence.

`stage` opens broker, DSP stub, hub and the house behind the virtual dongle; `story` is what the Service User
does; `narrator` makes lines of the facts; `report` and `evidence` are what remains.
"""
