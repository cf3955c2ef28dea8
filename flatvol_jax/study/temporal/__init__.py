"""Flatness and volume through time: run, summary, figures and report."""
