"""The paper's sentences that a reproduction judges, in the order of the paper."""

from typing import NamedTuple


class Sentence(NamedTuple):
    """Hold what the paper says, where, in which of its figures, and the number that decides it.

    The place is empty where the paper does not say it.
    """

    text: str
    place: str
    figures: tuple[str, ...]
    quantity: str


# fmt: off
SENTENCES = {
    "boolean": Sentence(
        "In the Boolean system sharpness correlates with volume.",
        "5.1, B", ("2", "S1", "S2"), "ρ of both over functions"),
    "constants": Sentence(
        "Its constant functions have the largest volume and the lowest sharpness.",
        "5.1", ("2",), "place in sharpness, 1 the least, of all functions"),
    "bands": Sentence(
        "Its functions lie in two bands, of odd and even numbers of outliers.",
        "5.1", ("2",), "gap in log10 sharpness at equal volume"),
    "volume": Sentence(
        "Volume correlates with generalisation, for every optimizer and data set.",
        "5.2, 5.3", ("3", "4", "S16", "S17", "S18"), "ρ of log V and the error"),
    "sharpness": Sentence(
        "Sharpness correlates with generalisation for SGD and full-batch gradient descent.",
        "5.2, G.2", ("3", "S17"), "ρ of sharpness and the error"),
    "looser": Sentence(
        "Sharpness correlates with generalisation more loosely than volume does.",
        "5.2", ("3",), "strength of log V minus that of sharpness"),
    "breaks": Sentence(
        "Adam, entropy-SGD, Adagrad, momentum and RMSProp break the flatness correlation.",
        "5.3, G.2", ("4", "S17"), "strength of SGD's minus the other's"),
    "gd": Sentence(
        "Full-batch gradient descent does not break it.",
        "G.2", ("S17",), "strength of SGD's minus GD's"),
    "intact": Sentence(
        "The correlation with volume stays intact with all of them.",
        "5.3, G.2", ("4", "S17"), "strength of SGD's minus the other's"),
    "resnet": Sentence(
        "For a ResNet on CIFAR-10 the flatness correlation deteriorates less from SGD to Adam.",
        "5.3, G.1", ("3", "S16"), "deterioration, FCN minus ResNet"),
    "hessian": Sentence(
        "Sharpness follows the Hessian's spectral norm, log product and Frobenius norm.",
        "5.2, B, D", ("S1", "S3"), "ρ of both"),
    "fall": Sentence(
        "Sharpness and volume both fall until zero training error is reached.",
        "5.4", ("5",), "ρ with the epoch"),
    "overtraining": Sentence(
        "Beyond zero error sharpness goes on falling.",
        "5.4, F", ("5", "S10"), "ρ with the epoch"),
    "stays": Sentence(
        "Beyond zero error volume stays as it is.",
        "5.4, F", ("5", "S10"), "relative change of log V"),
    "correlations": Sentence(
        "Overtraining leaves the correlations with generalisation as they are.",
        "F", ("S10", "S11", "S12", "S13", "S14", "S15"), "strength at zero error minus later"),
    "spike": Sentence(
        "Alpha-scaling makes sharpness leap up.",
        "5.4, C", ("5", "S5", "S7"), "log10 of sharpness after over before"),
    "returns": Sentence(
        "Alpha-scaling leaves volume, in the end, where it was.",
        "5.4, C", ("5", "S5"), "relative change of log V"),
    "continues": Sentence(
        "Long after, the curve of sharpness goes on as if nothing had happened.",
        "E", ("S8",), "log10 of sharpness over the unscaled one's"),
    "sampler": Sentence(
        "SGD finds a function about as often as the Bayesian posterior has it: P_SGD ≈ P_B.",
        "3", (), "total variation"),
    "larger": Sentence(
        "With 10,000 training digits the correlation with volume is, if anything, tighter.",
        "G.3", ("S18",), "strength of log V with 10,000 minus with 500"),
    "bound": Sentence(
        "The volume bounds the error (eq. 4).",
        "3", (), "share of networks whose bound is below 0.5"),
    "volume_ten": Sentence(
        "With ten classes (not in the paper) volume correlates with generalisation.",
        "", ("C1",), "ρ of log V and the error"),
    "sharpness_ten": Sentence(
        "With ten classes (not in the paper) sharpness correlates with generalisation for SGD.",
        "", ("C1",), "ρ of sharpness and the error"),
    "looser_ten": Sentence(
        "With ten classes (not in the paper) sharpness correlates more loosely than volume does.",
        "", ("C1",), "strength of log V minus that of sharpness"),
}
# fmt: on

# What a reader asks, and the sentences that answer it; each sentence answers one question.
QUESTIONS = {
    "Do volume and sharpness track generalisation?": ("volume", "sharpness", "looser", "larger"),
    "Do they with ten classes?": ("volume_ten", "sharpness_ten", "looser_ten"),
    "Does the optimizer matter?": ("breaks", "gd", "intact", "resnet"),
    "Is sharpness what the Hessian says?": ("hessian",),
    "What do training and rescaling do to them?": (
        *("fall", "overtraining", "stays", "correlations"),
        *("spike", "returns", "continues"),
    ),
    "What of small systems, whose functions can be counted?": (
        *("boolean", "constants", "bands", "sampler"),
    ),
    "Does the volume bound the error?": ("bound",),
}
