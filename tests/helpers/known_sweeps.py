"""Records of sweeps whose correlations within |A| are known."""

import numpy as np
import pandas as pd

VOLUME, SHARPNESS = "measure.log_volume.heaviside", "measure.sharpness.best"
ERROR = "measure.error.second_test"


def known_sweep(
    optimizer,
    volume,
    sharpness,
    experiment="mnist_fcn",
    draws=10,
    levels=6,
    samples=8,
    seed=0,
    scale="cpu",
    noise=0.0,
):
    """A sweep in which log V and sharpness have the given correlations with the error within |A|.

    Normal scores, so that Spearman's correlation is a little smaller; over all |A| both follow the
    error. `noise` lets a strength differ from draw to draw.
    """
    generator = np.random.default_rng([seed, len(optimizer), len(experiment)])
    draw, level, sample = (i.ravel() for i in np.indices((draws, levels, samples)))
    error, one, other = generator.normal(size=(3, len(draw)))
    shift = noise * generator.normal(size=draws)[draw]

    def correlated(rho, with_noise):
        rho = np.clip(rho + shift, -0.99, 0.99)
        return rho * error + np.sqrt(1 - rho**2) * with_noise

    return pd.DataFrame(
        {
            "run_id": [f"{experiment} {scale} {optimizer} {i}" for i in range(len(draw))],
            "meta.experiment": experiment,
            "meta.scale": scale,
            "meta.workdir": f"runs/{experiment}_{scale}_{optimizer}",
            "overtrain": 0,
            "transform": "none",
            "hp.train.optimizer": optimizer,
            "hp.draw": draw,
            "hp.attack_size": 100 * level,
            "hp.sample": sample,
            "hp.seed": 0,
            "hp.data.train_size": 500,
            "hp.data.test_size": 1000,
            ERROR: 0.3 + 0.05 * level + 0.01 * error,
            "measure.error.test": 0.3 + 0.05 * level + 0.01 * error,
            VOLUME: -300 - 40 * level + 5 * correlated(volume, one),
            SHARPNESS: np.exp(0.2 * level + 0.3 * correlated(sharpness, other)),
            "measure.baseline.margin": generator.normal(size=len(draw)),
            "measure.log_volume_null.heaviside": -500 + generator.normal(size=len(draw)),
            "is.zero_error": True,
            "is.ep_converged": True,
            "is.sharpness_converged": True,
            "is.hessian_converged": True,
        }
    )
