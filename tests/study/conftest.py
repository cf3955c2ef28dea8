"""Fixtures of records that are drawn from formulas, and of the smallest sweep."""

from synthetic_records import (  # noqa: F401
    boolean,
    one_draw,
    tags_of,
    temporal_frame,
    ten_draws,
)
from tiny_sweep import tiny  # noqa: F401
