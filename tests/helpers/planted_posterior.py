"""Records of the posterior experiment whose gaps and trends are planted."""

import numpy as np
import pandas as pd

NETWORKS = ((2, 1.0), (2, 0.25), (2, 4.0), (1, 1.0), (4, 1.0))


def records(draws=10, scale="cpu", sizes=(4, 16, 64), networks=NETWORKS, groups="mnist_halves"):
    """Gap 8 - size's log2 - 0.5 per doubling of width + 0.75 per layer, points; base 2 layers."""
    random, rows = np.random.default_rng(0), []
    for draw in range(draws):
        of_draw = 0.01 * random.normal()
        for size in sizes:
            common = {
                "hp.draw": draw,
                "hp.train_size": size,
                "meta.scale": scale,
                "hp.data.groups": groups,
            }
            accuracy = 0.5 + 0.04 * np.log2(size) + of_draw
            for depth in sorted({depth for depth, _ in networks}):
                rows.append(
                    {
                        **common,
                        "meta.part": "infinite",
                        "hp.depth": depth,
                        "hp.width_factor": None,
                        "is.base": depth == 2,
                        "measure.accuracy": accuracy,
                        "measure.accuracy.se": 0.001,
                        "measure.accuracy.vote": accuracy + 0.1,
                        "measure.log_volume": -0.6 * size,
                        "measure.bound": 0.6,
                        "is.certified": True,
                    }
                )
            for depth, factor in networks:
                gap = 8 - np.log2(size) - 0.5 * np.log2(factor) + 0.75 * (depth - 2)
                gap += 0.1 * random.normal()
                rows.append(
                    {
                        **common,
                        "meta.part": "trained",
                        "hp.depth": depth,
                        "hp.width_factor": factor,
                        "hp.train.optimizer": "sgd",
                        "is.base": (depth, factor) == networks[0],
                        "measure.accuracy": accuracy + gap / 100,
                        "measure.accuracy.vote": 1.0,
                    }
                )
            if size == sizes[0]:
                rows += margin_rows(common, random)
    return pd.DataFrame(rows)


def margin_rows(common, random):
    """Networks of equal margin: trained ones 3 points better, guessed ones gain 1 a doubling."""
    network = {"hp.depth": 2, "hp.width_factor": 1.0, "is.base": True}
    guessed = {
        "meta.part": "guessed",
        "measure.accuracy": 0.55,
        "measure.fitting": 20,
        "measure.log_margin": -8.0,
        "measure.slope.margin": 0.01 + 0.001 * random.normal(),
    }
    over = [
        {
            "meta.part": "overtrained",
            "hp.train.optimizer": "sgd",
            "hp.train.after": after,
            "measure.accuracy": 0.6 + 0.05 * (after > 0),
            "measure.fitting": 5,
            "measure.log_margin": -7.0 + after / 50,
            "measure.networks.matched": 5 - 4 * (after > 0),
            "measure.gap.matched": 0.03 + 0.001 * random.normal(),
        }
        for after in (0, 100)
    ]
    return [{**common, **network, **row} for row in (guessed, *over)]
