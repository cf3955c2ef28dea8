"""Check sampled networks against what their spec says of the readout: sigma_w, sigma_b, features.

The kernel is σ_w²/N_L Σ h h' + σ_b² of the last hidden features h (eq. 6), whatever the network's
outputs are. So the two are compared: given h, the outputs of a network are
o(x) = w h(x) + b with a readout of variances σ_w²/N_L and σ_b², independent of h, and over the
inputs they have exactly the covariance that enters the kernel. Two quantities of a network have
known means and variances then, one that a bias does not move and one that estimates it.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2

from flatvol_jax.models import Spec

NETWORKS = 256  # checked of one sum, at most: an error of 5% in a variance shows
EARLY = 32  # networks after which they are checked for the first time
_INPUTS = 32  # at most
_LEVEL = 1e-4  # of refusing a spec that is right
_TAILS = 8  # two quantities, two sides, two looks
_RIDGE = 1e-2  # of the features' mean variance: directions below it have no weight
_NOISE = 1e-5  # of that, the variance that rounding gives an output where products are bfloat16
_EMPTY = np.finfo(np.float64).tiny


# Sums over networks, in the order of these names; of T and of B each: the sum, its mean, that with
# rounding, half its variance, its third moment / 8, Σ T², Σ T E[T], Σ E[T]².
_SUMS = 8
SIZE = 3 + 2 * _SUMS  # networks, mean square of outputs, diagonal, T, B


def no_networks() -> np.ndarray:
    """Return the sums over no network."""
    return np.zeros(SIZE)


def checked_rows(n: int) -> np.ndarray:
    """Return the inputs that are checked: at most 32, evenly from first to last."""
    return np.unique(np.linspace(0, n - 1, min(n, _INPUTS)).astype(int))


def network_sums(
    features: Float[np.ndarray, "networks inputs N_L"],
    outputs: Float[np.ndarray, "networks inputs"],
    sigma_w: float,
    sigma_b: float,
) -> Float[np.ndarray, " sums"]:
    """Return the sums of some networks, (SIZE,), which add up with those of others.

    With K_h = σ_w²/N_L h h', A = (K_h + r I)^-1 (r is 1% of its mean diagonal), s = 1'A1 and
    P = A - A 1 1'A/s:

        b̂ = 1'A o / s      of mean 0 and variance 1'A K_h A 1/s² + σ_b²,
        T = o'P o          of mean tr(P K_h), variance 2 tr(P K_h)², third cumulant 8 tr(P K_h)³

    for a normal readout. P 1 = 0: T does not see the bias, only features and σ_w. Of b̂ the
    quantity is B = b̂² over its variance.

    Args:
        features: h, (networks, inputs, N_L).
        outputs: o, (networks, inputs).
        sigma_w, sigma_b: what the spec states.
    """
    h, o = features.astype(np.float64), outputs.astype(np.float64)
    prior = sigma_w**2 / h.shape[-1] * (h @ h.swapaxes(-1, -2))
    size = prior.shape[-1]
    variance = np.trace(prior, axis1=-2, axis2=-1) / size
    live = variance > _EMPTY
    ridge = np.where(live, _RIDGE * variance, 1.0)
    inverse = np.linalg.inv(prior + ridge[:, None, None] * np.eye(size))
    one = inverse.sum(-1)
    total = one.sum(-1)
    rest = inverse - one[:, :, None] * one[:, None, :] / total[:, None, None]
    product = rest @ prior
    square = product @ product
    trace = np.trace(product, axis1=-2, axis2=-1)
    noise = _NOISE * variance
    t = live * np.einsum("mi,mij,mj->m", o, rest, o)
    noisy = trace + noise * np.trace(rest, axis1=-2, axis2=-1) * live
    second = np.trace(square, axis1=-2, axis2=-1)
    third = np.einsum("mij,mji->m", square, product)

    bias = np.einsum("mi,mi->m", one, o) / total
    spread = np.einsum("mi,mij,mj->m", one, prior, one) / total**2 + sigma_b**2
    rounding = noise * np.sum(one**2, -1) / total**2
    spread = np.maximum(spread, _EMPTY)
    b, unit = bias**2 / spread, np.ones(len(bias))
    b_noisy = 1.0 + rounding / spread

    def sums(value, mean, noisy, second, third):
        return [value, mean, noisy, second, third, value**2, value * mean, mean**2]

    each = [
        unit,
        np.mean(o**2, -1),
        variance + sigma_b**2,
        *sums(t, trace, noisy, second, third),
        *sums(b, unit, b_noisy, unit, unit),
    ]
    return np.sum(each, axis=-1)


def check_prior(sums: Float[np.ndarray, " sums"], spec: Spec) -> None:
    """Refuse a spec whose networks' outputs vary otherwise than its kernel says.

    A spec that is right and whose readout is normal is refused with a chance of 1e-4, in two
    looks; one with a readout of another distribution about as rarely, as the spread over networks
    takes the place of the normal's where it is wider.

    Args:
        sums: over all networks that were checked.
        spec: for sigma_w, sigma_b and the message.

    Raises:
        ValueError: outputs of another variance, with both variances.
    """
    networks = sums[0]
    if networks == 0:
        return
    reasons = []
    wrong = _significant_ratio(sums[3 : 3 + _SUMS], networks, True)
    if wrong is not None and wrong < _NOISE:
        reasons.append(
            "with the bias taken out they are 0 within rounding, as of a readout that starts at "
            f"0, which has not the prior of sigma_w = {spec.sigma_w:g}: give it random weights"
        )
    elif wrong is not None:
        reasons.append(
            f"with the bias taken out they vary {wrong:.3g} times as much as the features and "
            f"sigma_w = {spec.sigma_w:g} say; if the features are what the readout multiplies, "
            f"sigma_w is about {spec.sigma_w * wrong**0.5:.3g}"
        )
    wrong = _significant_ratio(sums[3 + _SUMS :], networks, spec.sigma_b > 0)
    if wrong is not None:
        reasons.append(
            f"what all inputs have in common varies {wrong:.3g} times as much as "
            f"sigma_b = {spec.sigma_b:g} says"
        )
    if reasons:
        found, stated = sums[1] / networks, sums[2] / networks
        raise ValueError(
            f"spec: got networks whose outputs have mean square {found:.3g} at initialisation, "
            f"where the kernel of the stated prior has diagonal {stated:.3g}; wanted the same "
            f"({networks:.0f} networks, level {_LEVEL:g}): {', and '.join(reasons)}. State the "
            "layer that the readout multiplies (features), the variance of its weights times "
            "their number (sigma_w²) and that of its bias (sigma_b²)."
        )


def _significant_ratio(sums: np.ndarray, networks: float, lower: bool) -> float | None:
    """Return the ratio of what was found to its mean where it is no chance; else None.

    A sum of λ_i χ²_1 with c_k = Σ λ_i^k is taken for c_1 + √(2 c_2) (χ²_ν - ν)/√(2ν) with
    ν = c_2³/c_3² (Buckley and Eagleson 1988). Where networks spread f > 1 times as much as that,
    relative to their mean, c_2 is f c_2 and ν is ν/f.
    """
    value, mean, noisy, second, third, squares, product, means = sums
    if second <= 0:
        return None
    ratio = value / mean
    freedom = second**3 / third**2
    if networks > 1 and ratio > 0:
        spread = (squares / ratio**2 - 2 * product / ratio + means) / (networks - 1)
        wider = max(1.0, spread / (2 * second / networks))
        second, freedom = wider * second, freedom / wider
    chance = _LEVEL / _TAILS

    def quantile_scale(centre):
        return freedom + (value - centre) / np.sqrt(2 * second) * np.sqrt(2 * freedom)

    high = chi2.sf(quantile_scale(noisy), freedom) < chance
    low = lower and chi2.cdf(quantile_scale(mean), freedom) < chance
    return float(ratio) if high or low else None
