"""One network or labelling by itself: measured, certified."""
