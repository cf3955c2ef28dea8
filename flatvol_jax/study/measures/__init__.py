"""A trained network -> columns of its record."""
