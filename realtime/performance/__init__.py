"""Curves of action units over time: read, recorded, mixed and played."""
