"""Records of simulated equal networks whose measures have planted correlations."""

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.equal_networks import measures as known

# Spearman's correlation with the error within a cell, of endless networks.
PLANTED = {
    col.LOG_VOLUME: 0.5,  # the opposite of what is claimed
    col.SHARPNESS: 0.6,
    col.LEARNING_COEFFICIENT: 0.0,
    known.MARGIN: -0.7,
    known.GP_DISAGREEMENT: 0.8,
    known.NN_DISAGREEMENT: 0.3,
    known.PEER_DISAGREEMENT: 0.0,
    col.CEILING: 0.75,
}
BATCHES, RATES = (32, 128), (0.01, 0.04)


def records(planted=PLANTED, draws=10, seeds=100, shift=0.0, seed=1, noise=0.0):
    """Networks of 2 x 2 cells; `shift` moves the error of a cell up and each measure down."""
    generator, frames = np.random.default_rng(seed), []
    for draw in range(draws):
        cell = np.arange(seeds) % 4
        batch, rate = np.take(BATCHES, cell // 2), np.take(RATES, cell % 2)
        place = np.log2(rate / batch)
        latent = generator.normal(size=seeds)
        error = latent + shift * place
        columns = {
            "hp.draw": draw,
            "hp.attack_size": 0,
            "hp.sample": np.arange(seeds),
            "hp.train.optimizer": "sgd",
            known.BATCH_SIZE: batch,
            known.LEARNING_RATE: rate,
            "hp.data.name": "mnist",
            "is.zero_error": True,
            "epoch": 100,
            known.TRAIN_VOLUME: -300.0 - draw,
            known.CONDITIONAL: 0.0,
            col.SECOND_TEST_ERROR: 0.1 + 0.01 * error,
        }
        for half in (1, 2):
            own = error + noise * generator.normal(size=seeds)
            columns[f"{col.SECOND_TEST_ERROR}.half_{half}"] = 0.1 + 0.01 * own
        for measure, rho in planted.items():
            r = 2 * np.sin(np.pi * rho / 6)
            own = r * latent + np.sqrt(1 - r**2) * generator.normal(size=seeds)
            columns[measure.name] = own - shift * place
        frames.append(pd.DataFrame(columns))
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(run_id=[f"{number:x}" for number in range(len(frame))])
