"""log V(f) of functions with C classes: the volume of argmax labels."""
