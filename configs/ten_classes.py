"""The word `classes10` of a sweep's variant: ten classes in the place of two groups of them.

The network has ten outputs, trained by softmax, and its label is the largest. An attacked label is
one of the nine wrong ones, drawn uniformly. log V is that of the argmax labels, by EP
(docs/many_classes.md says why EP ranks networks as its correction and a certified estimate do).
Alone the word means the scale `cpu`: ten draws of |S| = 500, |A| up to 500 and |E1| = 1,000 that
share no image, E2 all 10,000 test images; five sizes of A, six networks each (docs/design.md). On
one core of its own a network takes half a minute and the 300 of SGD two and a half hours, in
1.5 GB of memory.
"""

from ml_collections import ConfigDict

from configs import base
from flatvol_jax import study

WORD, CLASSES = "classes10", 10
NOTE = (
    "Ten classes: the label is the largest of ten outputs, an attacked label one of the nine wrong "
    "ones, log V that of the argmax labels."
)


def words(variant: str, scales: tuple[str, ...]) -> tuple[bool, str, str]:
    """Return whether a variant has the word, its scale and its optimizer."""
    given = variant.split(",")
    rest = ",".join(word for word in given if word != WORD)
    ten = WORD in given
    if ten:
        scales = ("cpu", *(scale for scale in scales if scale != "cpu"))
    try:
        return ten, *base.words(rest, scales)
    except ValueError as error:
        raise ValueError(f"{error} Ten classes: {WORD}.") from error


def take_ten_classes(config: ConfigDict) -> None:
    """Give a sweep of two groups of classes all ten of them, under a name of its own."""
    two = config.experiment
    config.experiment = f"{two}_{WORD}"
    config.name = config.name.replace(two, config.experiment, 1)
    config.hp.data.groups = "all"
    config.hp.model.outputs = CLASSES
    # docs/many_classes.md: the log V that the statistics take is EP's, and to what tolerance.
    tolerance = study.measures.problem.CLASS_TOLERANCE
    config.measures.log_volume.update(estimator="ep", tolerance=tolerance)
    config.measures.log_volume_null.on = True
    config.measures.hessian.on = False  # no claim of ten classes reads it
    config.note = f"{NOTE} {config.note}".strip()
    if config.scale == "cpu":
        config.hp.data.update(draws="disjoint", train_size=500, attack_pool_size=500)
        config.hp.data.test_size = 1000
        config.hp.data.second_test_size = None  # the whole test split
        config.sweep.update(draws=10, attack_sizes=(0, 125, 250, 375, 500), samples=6)
