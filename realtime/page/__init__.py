"""The page: a live run seen and played from a browser on the same machine."""
