"""The version, written here alone: the package's metadata are read from it."""

__version__ = "0.1.0"
