"""The symmetry audit: its run, table and figure."""
