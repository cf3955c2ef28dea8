"""How many draws, levels and networks decide: sweeps of known correlations, simulated.

A simulated sweep goes through the statistics that judge the real ones (`statistics.correlation`,
`comparison.paired_difference`, thresholds of `verdicts`), so what is found here, half-widths and
how often a true claim is decided, holds for them. docs/design.md has the numbers.

Of one draw, with L the level (mean 0, variance 1 over the levels) and ε, u standard normal:

    error = √s L + √(1 - s) ε
    measure = ±√p L + √(1 - p) (r ε + √(1 - r²) u)

s is the share of the error's variance that is between levels, r makes Spearman's correlation of
endless networks within a level ρ = 6/π asin(r/2), and p is what gives the wanted correlation over
all levels. Over draws Fisher's z of r varies normally with a standard deviation of its own.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis import comparison, statistics, verdicts
from flatvol_jax.study.analysis.columns import ATTACK_SIZE, DRAW

MEASURE, ERROR = "measure", "error"
Progress = Callable[[float, int, str], None]


class Design(NamedTuple):
    """What is trained for one optimizer: networks = draws × levels × networks a level."""

    draws: int
    levels: int
    networks: int

    @classmethod
    def parse(cls, text: str) -> "Design":
        """Read the design of a text such as 27x5x8."""
        parts = text.strip().split("x")
        if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
            raise ValueError(f"design: got {text!r}, wanted DRAWSxLEVELSxNETWORKS. Try: 27x5x8.")
        return cls(*map(int, parts))


class Population(NamedTuple):
    """The truth that a simulated sweep is drawn from.

    Attributes:
        within: Spearman's correlation of endless networks within a level.
        pooled: Pearson's correlation over all levels of a draw.
        error_share: of the error's variance in a draw, the share between levels. 0.99: in the
            sweeps of results/ it is 0.995 with errors from 0.11 to 0.51.
        spread: standard deviation over draws of Fisher's z of the correlation within. In results/
            z varies no more than its runs explain; 0.1 is on the safe side.
    """

    within: float
    pooled: float
    error_share: float = 0.99
    spread: float = 0.1


FLATNESS = Population(0.6, 0.7)  # a flatness correlation that holds: SGD's pooled one was 0.7
BROKEN = Population(0.2, 0.3)
NOTHING = Population(0.0, 0.0)
TRUTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def simulated_runs(
    generator: np.random.Generator, design: Design, population: Population
) -> pd.DataFrame:
    """Draw a row a network: hp.draw, hp.attack_size, measure, error.

    Raises:
        ValueError: no loading on the levels gives `population.pooled`.
    """
    shape = Design(*(checks.count(name, value) for name, value in design._asdict().items()))
    share = population.error_share
    latent = 2 * np.sin(np.pi * population.within / 6)
    loading = _loading(population.pooled, latent, share)
    z = np.arctanh(latent) + population.spread * generator.normal(size=shape.draws)
    r = np.tanh(z)[:, None, None]
    noise, own = generator.normal(size=(2, *shape))
    draw, level, _ = np.indices(shape)
    place = (level - level.mean()) / max(level.std(), 1e-300)
    own = r * noise + np.sqrt(1 - r**2) * own
    columns = {
        DRAW: draw,
        ATTACK_SIZE: 100 * level,
        MEASURE: loading * place + np.sqrt(1 - loading**2) * own,
        ERROR: np.sqrt(share) * place + np.sqrt(1 - share) * noise,
    }
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def design_table(
    designs: Sequence[Design],
    claims: int,
    simulations: int = 300,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Say for each design what intervals are to be expected, and how often a claim is decided.

    Args:
        designs: what might be trained.
        claims: of a family; intervals hold together at 95%.
        simulations: data sets of each design.
        seed: fixes them.
        progress: called as progress(sweeps simulated, sweeps in all, the design).

    Returns:
        A row a design and reading: columns draws, levels, networks, reading; expected (mean
        estimate where endless networks have `FLATNESS`), mean half-widths: correlation (of
        `FLATNESS`), correlation_0 (of `NOTHING`, where it is widest) and difference (of `FLATNESS`
        and `BROKEN`); the share of simulations with the verdict "holds" for: correlates
        (`FLATNESS`), breaks (`BROKEN` against `FLATNESS`), unchanged (`FLATNESS` twice); with
        "does not hold" for: none (the correlation of `NOTHING`).
    """
    confidence = comparison.simultaneous_confidence(claims)
    rows, designs = [], list(designs)
    for number, design in enumerate(designs):
        generators = np.random.default_rng([seed, number]).spawn(
            checks.count("simulations", simulations)
        )
        found = pd.DataFrame(
            [
                row
                for one in _generators_with_progress(
                    generators, progress, number, len(designs), design
                )
                for row in _simulation(one, design, confidence)
            ]
        )
        means = found.groupby("reading", sort=False).mean().reset_index()
        rows.append(means.assign(**design._asdict()))
    table = pd.concat(rows, ignore_index=True)
    first = [*Design._fields, "reading"]
    return table[first + [name for name in table if name not in first]]


def power_table(
    designs: Sequence[Design],
    claims: int,
    simulations: int = 300,
    seed: int = 0,
    truths: Sequence[float] = TRUTHS,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count verdicts on a correlation within |A|, by the one that endless networks would have.

    Args:
        designs, claims, simulations, seed, progress: as of `design_table`.
        truths: Spearman's correlations within a level.

    Returns:
        A row a design and truth: columns draws, levels, networks, truth; expected (mean estimate),
        correlation (mean half-width); share of simulations with each verdict: holds, fails.
    """
    confidence = comparison.simultaneous_confidence(claims)
    rows, cases = [], list(itertools.product(designs, truths))
    for number, (design, truth) in enumerate(cases):
        population = Population(truth, truth)
        generators = np.random.default_rng([seed, number]).spawn(simulations)
        found = [
            statistics.correlation(
                simulated_runs(generator, design, population), MEASURE, ERROR, confidence=confidence
            )
            for generator in _generators_with_progress(
                generators, progress, number, len(cases), design
            )
        ]
        low, high, mean = np.array([(one.low, one.high, one.estimate) for one in found]).T
        limit = verdicts.CORRELATES_BEYOND
        numbers = mean.mean(), np.mean(high - low) / 2, np.mean(low > limit), np.mean(high < limit)
        rows.append((*design, truth, *numbers))
    names = [*Design._fields, "truth", "expected", "correlation", "holds", "fails"]
    return pd.DataFrame(rows, columns=names)


def _generators_with_progress(
    generators: Sequence[np.random.Generator],
    progress: Progress | None,
    number: int,
    cases: int,
    design: Design,
) -> Iterator[np.random.Generator]:
    """Give the generators of one of several cases; say how many sweeps are simulated."""
    for place, generator in enumerate(generators):
        yield generator
        if progress is not None:
            done = number * len(generators) + place + 1
            progress(done, cases * len(generators), "x".join(map(str, design)))


def markdown(table: pd.DataFrame) -> str:
    """Write a table of numbers as Markdown, two digits after the point."""
    rows = [list(table), ["---"] * table.shape[1]]
    for row in table.itertuples(index=False):
        rows.append([f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _simulation(generator, design, confidence) -> Iterator[dict]:
    reference, same, broken, nothing = (
        simulated_runs(generator, design, population)
        for population in (FLATNESS, FLATNESS, BROKEN, NOTHING)
    )
    for reading in statistics.READINGS:
        columns = (MEASURE, ERROR, reading)
        one, none = (
            statistics.correlation(frame, *columns, confidence=confidence)
            for frame in (reference, nothing)
        )
        unchanged, breaks = (
            comparison.paired_difference(
                reference, other, MEASURE, ERROR, 1, confidence, reading=reading
            )
            for other in (same, broken)
        )
        yield {
            "reading": reading,
            "expected": one.estimate,
            "correlation": (one.high - one.low) / 2,
            "correlation_0": (none.high - none.low) / 2,
            "difference": (breaks.high - breaks.low) / 2,
            "correlates": one.low > verdicts.CORRELATES_BEYOND,
            "none": none.high < verdicts.CORRELATES_BEYOND,
            "breaks": breaks.low > verdicts.BREAKS_BEYOND,
            "unchanged": max(-unchanged.low, unchanged.high) < verdicts.UNCHANGED_WITHIN,
        }


def _loading(pooled: float, latent: float, share: float) -> float:
    """Return ±√p of the file's head, from pooled = √s ±√p + √((1 - s)(1 - p)) r."""
    angle = np.arctan2(np.sqrt(1 - share) * latent, np.sqrt(share))
    largest = np.hypot(np.sqrt(1 - share) * latent, np.sqrt(share))
    if abs(pooled) > largest:
        raise ValueError(
            f"pooled: got {pooled}, wanted at most {largest:.3f} with a correlation of "
            f"{latent:.2f} within and a share of {share} between levels."
        )
    return float(np.sin(np.arcsin(pooled / largest) - angle))
