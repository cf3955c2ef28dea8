from synthetic_records import (  # noqa: F401
    boolean,
    one_draw,
    tags_of,
    temporal_frame,
    ten_draws,
)
