"""The error for numbers that a computation cannot continue with: a fault of the input."""


class NumericalFault(ValueError):
    """A loss that is not finite, a kernel that is not positive definite.

    A study records it for that network and continues with the others.
    """
