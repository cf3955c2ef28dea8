"""The rules of judgement of VERDICTS.md in code: an estimate with its interval -> a verdict.

What a claim asks of a number is a `Criterion`: a correlation beyond 0.3, a difference above a
limit, a difference within a margin.
"""

import hashlib
from importlib import resources
from typing import NamedTuple

import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis.comparison import Difference, t_test
from flatvol_jax.study.analysis.statistics import CONDITIONAL, Correlation

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this scale"
UNDECIDABLE = "undecidable at this |E1|"
NOTHING_TO_BREAK = "nothing to break"
LEAST_DRAWS = 10
SCALES = ("cpu", "paper")  # the scales at which a verdict may be given
CORRELATES_BEYOND = 0.3
BREAKS_BEYOND = 0.2
UNCHANGED_WITHIN = 0.2  # margin of equivalence on Spearman's ρ, as large as what "breaks" exceeds
RELAXED = 0.01  # share of log V before an event, within which it has come back


class Verdict(NamedTuple):
    """The verdict on a claim and its reason.

    `half_width` is of the interval; `decidable` the smallest estimate that an interval of this
    width would let hold (of a margin the largest difference, NaN where there is none).
    """

    verdict: str
    reason: str
    half_width: float
    decidable: float


class Criterion(NamedTuple):
    """The range that a claim asks a number to lie in; one end may be infinite.

    `text` says it in a few characters.
    """

    low: float
    high: float
    text: str

    def met(self, estimate: float) -> bool:
        """Say whether an estimate by itself, whatever its interval, is what is asked."""
        return bool(self.low < estimate < self.high)

    @property
    def limit(self) -> float:
        """Return the finite end; of two the upper one, the margin."""
        return self.high if np.isfinite(self.high) else self.low

    @property
    def two_sided(self) -> bool:
        """Say whether both ends are finite: ± a margin."""
        return bool(np.isfinite(self.high - self.low))


def correlates(sign: int) -> Criterion:
    """Ask for a correlation beyond 0.3: sign -1 of a volume, +1 of a sharpness."""
    if sign not in (-1, 1):
        raise ValueError(f"sign: got {sign!r}, wanted 1 or -1, the sign that is claimed.")
    if sign > 0:
        return Criterion(CORRELATES_BEYOND, np.inf, f"ρ > {CORRELATES_BEYOND:+.1f}")
    return Criterion(-np.inf, -CORRELATES_BEYOND, f"ρ < {-CORRELATES_BEYOND:+.1f}")


def exceeds(limit: float) -> Criterion:
    """Ask for a difference above a limit."""
    return Criterion(limit, np.inf, f"> {limit:g}")


def within(margin: float) -> Criterion:
    """Ask for a difference within ± a margin: equivalence.

    With the whole interval in it, that is two one-sided tests at half of 1 - confidence, stricter
    than the customary TOST.
    """
    return Criterion(-checks.positive("margin", margin), margin, f"within ±{margin:g}")


BREAKS, UNCHANGED = exceeds(BREAKS_BEYOND), within(UNCHANGED_WITHIN)


def judge(
    criterion: Criterion,
    found: Correlation | Difference,
    scale: str | None,
    note: str = "",
    ceiling: float | None = None,
    reference: str = HOLDS,
) -> Verdict:
    """Judge a number by the rules.

    Args:
        criterion: what is claimed of it.
        found: the number in one reading, its interval at the simultaneous confidence.
        scale: of the study; only "cpu" and "paper" allow a verdict.
        note: stands at the end of the reason.
        ceiling: of log V within |A|, the lower end of the E1 error's own interval (rule 3); None
            where it does not apply.
        reference: the verdict on SGD's own correlation in the same reading, where the claim is
            that another optimizer breaks it: where it does not hold there is nothing to break.
    """
    verdict, reason = _by_interval(criterion, found)
    decidable, half_width = _decidable(criterion, found), (found.high - found.low) / 2
    if verdict == FAILS and ceiling is not None and not ceiling >= CORRELATES_BEYOND:
        verdict = UNDECIDABLE
        reason += f", but that of the E1 error itself begins at {ceiling:+.2f}"
    if reference != HOLDS:
        verdict, reason = NOTHING_TO_BREAK, f"SGD's own correlation: {reference}"
    if found.draws == 1:
        verdict, reason = CONDITIONAL, f"1 draw, {LEAST_DRAWS} wanted for a verdict"
    elif found.draws < LEAST_DRAWS:
        verdict, reason = UNDECIDED, f"{found.draws} draws, {LEAST_DRAWS} wanted for a verdict"
    elif scale not in SCALES:
        wanted = f"{' or '.join(SCALES)} wanted for a verdict"
        verdict, reason = UNDECIDED, f"scale {scale or 'not stated'}, {wanted}"
    elif not np.isfinite(half_width):
        verdict, reason = UNDECIDED, "no interval"
    if np.isfinite(half_width):
        limit = f"decidable: {decidable:+.2f}" if np.isfinite(decidable) else "nothing decidable"
        reason += f"; half-width {half_width:.2f}, {limit}"
    if found.undefined:
        reason += f"; not defined in {found.undefined} further draw(s)"
    return Verdict(verdict, f"{reason}; {note}" if note else reason, half_width, decidable)


def is_opposite(sign: int, low: float, high: float) -> bool:
    """Say whether an interval lies wholly beyond zero, on the side that is not claimed."""
    return bool(low > 0 if sign < 0 else high < 0)


def interval_text(estimate: float, low: float, high: float, unknown: str = "") -> str:
    """Write an estimate with its interval in plain text."""
    if not np.isfinite(estimate):
        return unknown or "—"
    ends = f" [{low:+.2f}, {high:+.2f}]" if np.isfinite([low, high]).all() else ""
    return f"{estimate:+.2f}{ends}"


def rules_text() -> str:
    """Return the rules, as they were written before any number (VERDICTS.md)."""
    return resources.files("flatvol_jax.study").joinpath("VERDICTS.md").read_text("utf-8")


def rules_hash() -> str:
    """Return the SHA-256 of VERDICTS.md, in hexadecimal: what `sha256sum` prints."""
    rules = resources.files("flatvol_jax.study").joinpath("VERDICTS.md")
    return hashlib.sha256(rules.read_bytes()).hexdigest()


def p_value(criterion: Criterion, found: Correlation | Difference) -> float:
    """Test the criterion over draws by Student's t, of a correlation on Fisher's z.

    One-sided; of a margin the larger of two one-sided tests (TOST, Schuirmann 1987).
    """
    scale, error = (np.arctanh, "z_standard_error") if _is_rho(found) else (float, "standard_error")
    distances = []
    if np.isfinite(criterion.low):
        distances.append(scale(found.estimate) - scale(criterion.low))
    if np.isfinite(criterion.high):
        distances.append(scale(criterion.high) - scale(found.estimate))
    return t_test(min(distances), getattr(found, error), found.freedom if found.draws > 1 else 0)


def _decidable(criterion: Criterion, found: Correlation | Difference) -> float:
    below_one = np.nextafter(1, 0)  # tanh of a wide interval's end rounds to 1
    if _is_rho(found):
        reach = np.ptp(np.arctanh(np.clip([found.low, found.high], -below_one, below_one))) / 2
        limit = np.arctanh(criterion.limit)
        return float(np.tanh(limit + np.copysign(reach, limit)))
    reach = (found.high - found.low) / 2
    if not criterion.two_sided:
        return criterion.limit + reach
    return criterion.limit - reach if criterion.limit > reach else np.nan


def _is_rho(found: Correlation | Difference) -> bool:
    return isinstance(found, Correlation)


def _by_interval(criterion: Criterion, found: Correlation | Difference) -> tuple[str, str]:
    low, high, limit = *criterion[:2], f"{criterion.limit:g}"
    if criterion.two_sided:
        inside, outside, neither = (f"wholly within ±{limit}", "wholly outside ±", "crosses ±")
    else:
        inside, outside = ("above", "below")[:: 1 if high == np.inf else -1]
        inside, outside, neither = f"wholly {inside} {limit}", f"wholly {outside} ", "contains "
    if low < found.low and found.high < high:
        return HOLDS, f"interval {inside}"
    if found.low > high or found.high < low:
        return FAILS, f"interval {outside}{limit}"
    return UNDECIDED, f"interval {neither}{limit}"
