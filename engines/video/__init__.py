"""Clips of every kind: when each frame is shown, and what it shows, whatever is wrong with the file."""
