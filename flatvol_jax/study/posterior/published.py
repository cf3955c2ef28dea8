"""What others measured with guess and check, by what it is to be compared with."""

from typing import NamedTuple


class Published(NamedTuple):
    """A row of Peleg and Hein (2024): 24 MNIST digits, accuracies on unseen digits.

    Attributes:
        groups: `hp.data.groups` of the two digits.
        depth: hidden layers.
        factor: of the widths 120, 60, 30, 12.
        guessed: of networks that were drawn until they fit, a fraction.
        sgd: of trained ones.
    """

    groups: str
    depth: int
    factor: float
    guessed: float
    sgd: float


SIZE = 24
PELEG_HEIN = (
    Published("mnist_0_7", 4, 1.0, 0.836, 0.965),
    Published("mnist_0_7", 4, 1 / 6, 0.85, 0.941),
    Published("mnist_0_7", 1, 1 / 3, 0.869, 0.964),
    Published("mnist_0_7", 4, 1 / 3, 0.841, 0.954),
    Published("mnist_3_5", 4, 1.0, 0.695, 0.818),
)
DIFFERENCES = (
    "Ours: normal weights of variance 2 / fan-in, biases of variance 0.01, images pooled to 7 x 7, "
    "one output whose sign is the label (theirs: two; random networks answer by the same law), SGD "
    "on the mean cross-entropy to the first epoch with zero error, and so many epochs more, an S "
    "with as many of each digit, draws that share no digit. How theirs are pooled, drawn and made "
    "deeper, and the width of the row 3 against 5, we have not seen: depth d is read as the first "
    "d layers, that row as width 1."
)
