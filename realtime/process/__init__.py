"""The process around a run: signals, log, exit status, keys of the terminal."""
