"""Foundations of all rooms: float64 scope, boundary checks, atomic files, array cache, devices."""
