"""The Boolean system: run, summary, figures and report."""
