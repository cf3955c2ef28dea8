"""Claims on the Boolean system, where volumes are counted and no test set exists.

There is no draw of S, E here: every input is shown and every function is its 128 labels. So the
rules allow no verdict, and intervals are over the functions that were trained to.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import ONE_SYSTEM, Evidence, PaperClaim, conditional
from flatvol_jax.study.analysis import columns, resampling, selection, statistics
from flatvol_jax.study.boolean.summary import DIRECT, SHARPNESS

WHO = "Boolean functions of 7 inputs, 7-40-40-1"
SPECTRAL_NORM = columns.SPECTRAL_NORM.column
NO_DRAWS = "all inputs are shown, so there are no draws of S, E; interval over functions"


def boolean_claims(frame: pd.DataFrame) -> Iterator[PaperClaim]:
    """Claims on volume and sharpness, on the constants and the bands, on P_SGD against P_B.

    Args:
        frame: records of the Boolean experiment.
    """
    functions = frame[frame["meta.part"] == "function"]
    functions = functions[np.isfinite(selection.numbers(functions, SHARPNESS))]
    if len(functions):
        epochs = sorted(functions["overtrain"].unique())
        of = {int(epoch): functions[functions["overtrain"] == epoch] for epoch in epochs}
        yield _volume_and_sharpness(of)
        yield _constants(of)
        yield _bands(of)
    yield from _sampler(frame[frame["meta.part"] == "posterior_summary"])


def _volume_and_sharpness(of: dict[int, pd.DataFrame]) -> PaperClaim:
    found = {epoch: _spearman(rows, DIRECT, SHARPNESS) for epoch, rows in of.items()}
    norms = {
        f"{a} and {b}": _spearman(of[min(of)], first, second)
        for a, b, first, second in (
            ("spectral norm", "sharpness (S1)", SPECTRAL_NORM, SHARPNESS),
            ("spectral norm", "volume (S2)", SPECTRAL_NORM, DIRECT),
        )
    }
    first = found[min(of)]
    return PaperClaim(
        "boolean",
        WHO,
        "functions of larger volume have less sharp minima",
        "ρ < -0.3",
        1,
        conditional(
            first._replace(label="volume and sharpness at zero error: Spearman's ρ"),
            bool(first.estimate < -0.3),
            NO_DRAWS,
            ONE_SYSTEM,
        ),
        evidence=(
            *(
                value._replace(label=f"the same {epoch} epochs after zero error")
                for epoch, value in found.items()
                if epoch
            ),
            *(value._replace(label=f"{name} at zero error") for name, value in norms.items()),
        ),
    )


def _constants(of: dict[int, pd.DataFrame]) -> PaperClaim:
    """Ranks of the constant functions, 1 the least sharp."""
    places = {}
    for epoch, rows in of.items():
        rank = pd.Series(selection.numbers(rows, SHARPNESS), rows.index).rank()
        places[epoch] = float(rank[rows["function.minority"] == 0].median())
    first, total = min(of), len(of[min(of)])
    largest = of[first][of[first]["function.minority"] == 0]["function.rank"].max()
    return PaperClaim(
        "constants",
        WHO,
        "the constant functions have the largest volume and the lowest sharpness",
        "1 to 2",
        1,
        conditional(
            Evidence(
                f"place of the constants in sharpness, 1 the least, of {total}, at zero error",
                places[first],
                note=f"in volume they are first and second: {'yes' if largest <= 1 else 'no'}",
            ),
            bool(places[first] <= 2 and largest <= 1),
            "counted, not estimated",
            ONE_SYSTEM,
        ),
        evidence=tuple(
            Evidence(f"the same {epoch} epochs after zero error", place)
            for epoch, place in places.items()
            if epoch
        ),
    )


def _bands(of: dict[int, pd.DataFrame]) -> PaperClaim:
    """The gap in log10 sharpness between odd and even minorities at equal volume."""
    found = {epoch: _gap(rows) for epoch, rows in of.items()}
    first = found[min(of)]
    return PaperClaim(
        "bands",
        WHO,
        "odd and even numbers of outliers make two bands",
        "not 0",
        1,
        conditional(
            first._replace(label="log10 sharpness, odd minus even at equal volume, at zero error"),
            bool(first.low * first.high > 0),
            NO_DRAWS,
            ONE_SYSTEM,
        ),
        evidence=tuple(
            value._replace(label=f"the same {epoch} epochs after zero error")
            for epoch, value in found.items()
            if epoch
        ),
    )


def _sampler(rows: pd.DataFrame) -> Iterator[PaperClaim]:
    for _, row in rows.iterrows():
        kind = "direct" if np.isfinite(row["measure.total_variation.direct"]) else "nngp"
        name = f"measure.total_variation.{kind}"
        distance, low, high = row[name], row[f"{name}.null.low"], row[f"{name}.null.high"]
        slope, error = row[f"measure.slope.{kind}"], row[f"measure.slope.{kind}.robust.se"]
        optimizer = {"sgd": "SGD", "adam": "Adam"}.get(row["hp.train.optimizer"])
        system = "MNIST" if row["meta.system"] == "mnist" else "Boolean"
        beyond = ", far beyond sampling noise" if distance > high else ""
        yield PaperClaim(
            "sampler",
            f"{system}, |S| = {row['hp.train_size']:.0f}, target {row['target.name']}, {optimizer}",
            f"{optimizer} finds functions as often as the posterior has them",
            f"≤ {high:.3f}",
            1,
            conditional(
                Evidence(
                    "total variation between P_optimizer and P_B",
                    distance,
                    note=f"two samples of P_B of this size: {low:.3f} to {high:.3f} (95%)",
                ),
                bool(distance <= high),
                f"one S; {row['meta.seeds']:.0f} seeds{beyond}",
                ONE_SYSTEM,
            ),
            evidence=(
                Evidence(
                    "slope of ln P_optimizer against ln P_B, 1 if equal",
                    slope,
                    slope - 1.96 * error,
                    slope + 1.96 * error,
                    f"{row[f'measure.slope.{kind}.functions']:.0f} functions, HC3 errors",
                ),
            ),
        )


def _spearman(rows: pd.DataFrame, x: str, y: str) -> Evidence:
    one, other = selection.numbers(rows, x), selection.numbers(rows, y)
    known = np.isfinite(one) & np.isfinite(other)
    one, other = one[known], other[known]

    def statistic(kept):
        return statistics.plain_estimate(one[kept], other[kept])

    everyone = np.arange(len(one))
    low, high = resampling.draw_bootstrap(0, statistic, everyone, 0.95)
    return Evidence("", statistic(everyone), low, high, f"{len(one)} functions")


def _gap(rows: pd.DataFrame) -> Evidence:
    """Coefficient of "odd" in log10 sharpness = a + b log10 V + c odd, without the constants."""
    rows = rows[rows["function.minority"] > 0]
    sharpness = selection.numbers(rows, SHARPNESS)
    rows, sharpness = rows[sharpness > 0], np.log10(sharpness[sharpness > 0])
    odd = rows["function.minority"].to_numpy(float) % 2
    design = np.stack([np.ones(len(rows)), selection.numbers(rows, DIRECT), odd], axis=1)

    def statistic(kept):
        return float(np.linalg.lstsq(design[kept], sharpness[kept], rcond=None)[0][2])

    everyone = np.arange(len(rows))
    low, high = resampling.draw_bootstrap(0, statistic, everyone, 0.95)
    return Evidence("", statistic(everyone), low, high, f"{len(rows)} functions")
