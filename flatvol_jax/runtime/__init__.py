"""What all rooms stand on: the float64 scope, boundary checks, atomic files, the array cache."""
