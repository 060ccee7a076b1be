"""Draws training pairs: the same face in another expression."""
