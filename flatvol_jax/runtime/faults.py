"""Numbers that a computation cannot go on with: a fault of one input, not of the program."""


class NumericalFault(ValueError):
    """A loss that is not finite, a kernel that is not positive definite.

    A study records it at the network that has it, and goes on with the others.
    """
