"""records -> correlations, intervals, verdicts: pure statistics."""
