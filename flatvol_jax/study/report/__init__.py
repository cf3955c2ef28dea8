"""Pieces of a page and of a figure that experiments share."""
