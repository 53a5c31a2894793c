"""The virtual EZSP dongle: ASH, EZSP, and its doors (in-process, TCP, PTY)."""
