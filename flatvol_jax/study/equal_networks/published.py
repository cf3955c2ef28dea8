"""What was published for networks that differ by their seed, by what of ours stands beside it."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from flatvol_jax.study.analysis.columns import LOG_VOLUME, SHARPNESS


class Published(NamedTuple):
    """A Spearman correlation of Bennett (2026, arXiv:2605.05209) for MNIST.

    Attributes:
        column: of ours that stands beside it.
        name: what its author calls the measure.
        with_accuracy: its correlation with the accuracy, as printed.
        networks: how many it is over.
    """

    column: str
    name: str
    with_accuracy: float
    networks: int

    @property
    def with_error(self) -> float:
        """Return its correlation with the error, as ours are."""
        return -self.with_accuracy

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval over networks that its number of networks leaves.

        Fisher's z with the variance (1 + ρ²/2) / (n - 3) of Bonett and Wright (2000).
        """
        error = np.sqrt((1 + self.with_accuracy**2 / 2) / (self.networks - 3))
        reach = stats.norm.ppf(0.5 + confidence / 2) * error
        low, high = np.tanh(np.arctanh(self.with_error) + np.array([-reach, reach]))
        return float(low), float(high)


BENNETT = (
    Published(SHARPNESS.name, "sharpness", -0.226, 100),
    Published(LOG_VOLUME.name, "weakness", 0.374, 100),
)
DIFFERENCES = (
    "Theirs: 100 networks of one training set and one recipe; we have seen the abstract, not the "
    "size of the training set, the network, how sharpness and weakness were computed, nor when "
    "training stopped. Weakness is, in its words, the volume of completions compatible with the "
    "learned function; log V is the volume of parameters of the infinitely wide network, so what "
    "stands beside it is the nearest quantity, not the same one. Printed with the accuracy, here "
    "with the error, hence the other sign. Its interval is over networks, ours over training sets."
)
