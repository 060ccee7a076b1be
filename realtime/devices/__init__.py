"""The operating system as the program sees it: host facts and V4L2 nodes."""
