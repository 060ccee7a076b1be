"""Libraries that run a generator, one file each, behind the Protocols of interface.py."""
