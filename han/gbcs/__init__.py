"""The GBCS messages that matter to firmware update. Pure."""
