"""One file a framework: its network as plain functions. None is imported before it is needed."""
