"""Numbers, intervals and times as a reader of a report wants them; NaN and null are a dash."""

import math
from collections.abc import Callable
from typing import Any

DASH = "—"


def number(value: Any, digits: int = 3) -> str:
    """Write a number to `digits` significant digits, whole ones whole, with a true minus sign."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_finite(value):
        return DASH
    if float(value).is_integer() and abs(value) < 1e6:
        text = str(int(value))
    else:
        text = f"{float(value):.{digits}g}"
    return text.replace("-", "−")


def measured(value: Any, error: Any) -> str:
    """Write value ± error, both to the second digit of the error; the value alone without one."""
    if not (_is_finite(value) and _is_finite(error) and error > 0):
        return number(value, 4)
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}".replace("-", "−")


def correlation(value: Any) -> str:
    """Write a correlation to two digits after the point, signed."""
    if not _is_finite(value):
        return DASH
    return f"{value:+.2f}".replace("+0.00", "0.00").replace("-0.00", "0.00").replace("-", "−")


def interval(low: Any, high: Any, show: Callable[[Any], str] = correlation) -> str:
    """Write [low, high] of correlations, or of numbers that `show` writes."""
    return f"[{show(low)}, {show(high)}]" if _is_finite(low) and _is_finite(high) else DASH


def signed(value: Any) -> str:
    """Write any signed number: as a correlation; small ones in two digits, at most four places."""
    if not _is_finite(value):
        return DASH
    if abs(value) >= 9.995:
        return number(value, 4)
    if abs(value) >= 0.095 or abs(value) < 5e-5:
        return correlation(value)
    return (f"{value:+.2g}" if abs(value) >= 1e-3 else f"{value:+.4f}").replace("-", "−")


def signed_interval(low: Any, high: Any) -> str:
    """Write [low, high] of such numbers."""
    return interval(low, high, signed)


def p_value(value: Any) -> str:
    """Write a p-value; below 0.001 only that."""
    if not _is_finite(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: Any) -> str:
    """Write a fraction as a percentage."""
    return f"{100 * value:.1f}%" if _is_finite(value) else DASH


def duration(seconds: Any) -> str:
    """Write seconds as the largest two units that say something."""
    if not _is_finite(seconds):
        return DASH
    minutes, rest = divmod(round(float(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{float(seconds):.1f} s"


def cell(value: Any) -> str:
    """Write anything plain: numbers by `number`, null as a dash, the rest as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if hasattr(value, "item"):
        value = value.item()
    return number(value, 4) if isinstance(value, (bool, int, float)) else str(value)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False
