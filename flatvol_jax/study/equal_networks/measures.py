"""The measures of the experiment: which are judged, which stand beside them, what confounds."""

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.columns import Column

BATCH_SIZE, LEARNING_RATE = "hp.train.batch_size", "hp.train.learning_rate"
NOISE = "confounder.noise"  # rate / batch size: the size of SGD's noise
CONFOUNDERS = (
    Column(BATCH_SIZE, "batch size", "confounder"),
    Column(LEARNING_RATE, "learning rate", "confounder"),
    Column(NOISE, "rate / batch size", "confounder"),
)
MARGIN = Column("measure.baseline.margin", "margin", "baseline", -1)
GP_DISAGREEMENT = Column("measure.baseline.gp_disagreement", "disagreement with GP mean")
NN_DISAGREEMENT = col.NN_DISAGREEMENT
PEER_DISAGREEMENT = Column(
    "measure.baseline.peer_disagreement", "disagreement with the other networks", "baseline"
)
LABEL_ENTROPY = Column("measure.baseline.label_entropy", "entropy of its labels", "baseline", -1)
TRAIN_VOLUME, CONDITIONAL = col.TRAIN_VOLUME.name, col.GIVEN_TRAIN.name

JUDGED = (
    *(col.LOG_VOLUME, col.SHARPNESS, col.LEARNING_COEFFICIENT, MARGIN),
    *(GP_DISAGREEMENT, NN_DISAGREEMENT, PEER_DISAGREEMENT),
)
"""What is asked: one family of claims in each reading."""

OF_FUNCTION = (col.LOG_VOLUME, *JUDGED[4:])
"""Those that depend on the labels on E1, and so cannot say more than the error there does."""

MEASURES = (
    *JUDGED,
    *(m for m in col.MEASURES if m.name not in {judged.name for judged in JUDGED}),
    LABEL_ENTROPY,
)
"""All that is tabled, where the records have it."""
