"""config -> units -> records: nothing here knows an experiment."""
