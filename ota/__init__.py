"""The OTA Upgrade cluster (0x0019) and its files.

Pure: nothing here knows asyncio, zigpy, a clock or a network. A machine is told what time it is and answers
with values; a pump somewhere else carries them.
"""
