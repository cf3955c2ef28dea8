"""The paper's sentences that a reproduction judges, in the order of the paper."""

from typing import NamedTuple


class Sentence(NamedTuple):
    """What the paper says, where, and in which of its figures."""

    text: str
    place: str
    figures: tuple[str, ...]


SENTENCES = {
    "boolean": Sentence(
        "In the Boolean system sharpness correlates with volume, in two bands, and the constant "
        "functions have the largest volume and the lowest sharpness.",
        "5.1",
        ("2", "S1", "S2"),
    ),
    "volume": Sentence(
        "Volume correlates with generalisation, for every optimizer and data set.",
        "5.2, 5.3",
        ("3", "4", "S16", "S17", "S18"),
    ),
    "sharpness": Sentence(
        "Sharpness correlates with generalisation for SGD and full-batch gradient descent.",
        "5.2, G.2",
        ("3", "S17"),
    ),
    "looser": Sentence(
        "Sharpness correlates with generalisation more loosely than volume does.", "5.2", ("3",)
    ),
    "breaks": Sentence(
        "Adam, entropy-SGD, Adagrad, momentum and RMSProp break the flatness correlation.",
        "5.3, G.2",
        ("4", "S17"),
    ),
    "gd": Sentence("Full-batch gradient descent does not break it.", "G.2", ("S17",)),
    "intact": Sentence(
        "The correlation with volume stays intact with all of them.", "5.3, G.2", ("4", "S17")
    ),
    "resnet": Sentence(
        "For a ResNet on CIFAR-10 the flatness correlation deteriorates less from SGD to Adam.",
        "5.3, G.1",
        ("3", "S16"),
    ),
    "hessian": Sentence(
        "Sharpness follows the Hessian's spectral norm, log product and Frobenius norm.",
        "5.2, B, D",
        ("S1", "S3"),
    ),
    "fall": Sentence(
        "Sharpness and volume both fall until zero training error is reached.", "5.4", ("5",)
    ),
    "overtraining": Sentence(
        "Beyond zero error sharpness goes on falling and volume stays.", "5.4, F", ("5", "S10")
    ),
    "correlations": Sentence(
        "Overtraining leaves the correlations with generalisation as they are.",
        "F",
        ("S10", "S11", "S12", "S13", "S14", "S15"),
    ),
    "spike": Sentence(
        "Alpha-scaling makes sharpness leap and leaves volume where it is.",
        "5.4, C",
        ("5", "S5", "S7"),
    ),
    "continues": Sentence(
        "Long after, the curve goes on as if nothing had happened.", "E", ("S8",)
    ),
    "sampler": Sentence(
        "SGD finds a function about as often as the Bayesian posterior has it: P_SGD ≈ P_B.",
        "3",
        (),
    ),
    "larger": Sentence(
        "With 10,000 training digits the correlation with volume is, if anything, tighter.",
        "G.3",
        ("S18",),
    ),
    "bound": Sentence("The volume bounds the error (eq. 4).", "3", ()),
}
