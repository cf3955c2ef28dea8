"""Records of simulated networks of which some measures know the error."""

import dataclasses

import numpy as np
import pandas as pd

from configs.predictors import get_config
from flatvol_jax.study.predictors.settings import predictors_config
from flatvol_jax.study.predictors.tables import CONTROL

VOLUME, SHARPNESS = "measure.log_volume.heaviside.given_train", "measure.sharpness.best"
WIDTH_ONLY, RANDOM = "measure.hessian.trace", CONTROL.name


def records(draws=10, scale="cpu", seed=1):
    """The error falls with width and |S|, rises with the rate; a late stop changes it by chance.

    log P(f_E | S) knows the error, log P(S) moves with |S| besides; sharpness knows all but the
    rate, where it goes the wrong way; the Hessian's trace knows the width alone.
    """
    random, rows = np.random.default_rng(seed), []
    settings = predictors_config(get_config("cpu").to_dict()).predictors.settings
    for draw in range(draws):
        of_draw = 0.01 * random.normal()
        for setting in settings:
            for stop in (0, 200):
                width, size = np.log2(setting.width), np.log2(setting.train_size)
                rate = np.log(setting.rate)
                error = 0.5 + of_draw - 0.02 * width - 0.03 * size + 0.02 * rate
                error += 0.02 * random.normal()
                on_train = -0.5 * setting.train_size - 10 * setting.depth
                rows.append(
                    {
                        "run_id": f"{draw}{setting}",
                        "overtrain": stop,
                        "hp.draw": draw,
                        "hp.data.second_test_size": 10_000,
                        "meta.scale": scale,
                        "is.zero_error": True,
                        "measure.error.second_test": error,
                        "measure.log_volume.heaviside.train": on_train,
                        "measure.log_volume.heaviside": on_train
                        - 800 * (error + 0.002 * random.normal()),
                        SHARPNESS: np.exp(10 * error - 0.6 * rate + 0.02 * random.normal()),
                        WIDTH_ONLY: -setting.width,
                        **{f"hp.factor.{k}": v for k, v in dataclasses.asdict(setting).items()},
                    }
                )
    return pd.DataFrame(rows)
