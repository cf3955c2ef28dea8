"""A loss that computes below float64 is refused before anything is measured."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax import flatness

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 4)).astype(np.float32), RNG.choice([-1, 1], 12)
LOWER = (jnp.bfloat16, jnp.float16, jnp.float32)


class Net(nn.Module):
    dtype: object = None

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(5, dtype=self.dtype)(x))
        return nn.Dense(1, dtype=self.dtype)(x)[..., 0]


PARAMS = Net().init(jax.random.key(1), X)["params"]
STD = jax.tree.map(lambda leaf: 1.0, PARAMS)
KERNEL = ("Dense_0", "kernel")


class Losses:
    """The forms in which the calls take one network of a dtype."""

    def __init__(self, dtype):
        def outputs(p, x=X):
            return Net(dtype).apply({"params": p}, x)

        def outer(f):
            return jnp.mean(jax.nn.softplus(-Y * f))

        self.composed = flatness.composed(outer, outputs)
        self.losses = lambda p: jax.nn.softplus(-Y * outputs(p))
        self.loss = lambda p: self.losses(p).mean()
        self.batch = lambda p, b: jax.nn.softplus(-b[1] * outputs(p, b[0])).mean()
        self.inside = lambda p: jnp.all((outputs(p) > -100) & (outputs(p) < 100))
        self.example = lambda p, i: outputs(p, jnp.asarray(X)[i][None])[0]


def in_batches(losses):
    return flatness.mean_over_batches(losses.batch, (X, Y), 5)


def members(tree):
    return jax.tree.map(lambda leaf: np.stack([leaf, leaf]), tree)


FEW = {"chains": 2, "steps": 40, "burn_in": 0}
CALLS = {
    "sharpness": lambda f: fv.sharpness(f.loss, PARAMS, 1e-5),
    "sharpness, sign": lambda f: fv.sharpness(f.loss, PARAMS, 1e-5, method="sign"),
    "sharpness, in batches": lambda f: fv.sharpness(in_batches(f), PARAMS, 1e-5),
    "ensemble": lambda f: flatness.ensemble_sharpness(f.loss, members(PARAMS), 1e-5),
    "sgd": lambda f: fv.sgd_sharpness(KEY, f.batch, PARAMS, (X, Y), 1e-4, 4, 1e-3, 2),
    "eigenvalues": lambda f: fv.hessian_eigenvalues(KEY, f.loss, PARAMS, 3),
    "measures": lambda f: fv.hessian_measures(KEY, f.loss, PARAMS, 3),
    "gauss_newton": lambda f: fv.hessian_measures(KEY, f.composed, PARAMS, 3, "gauss_newton"),
    "diagonal": lambda f: flatness.gauss_newton_diagonal(f.composed, PARAMS),
    "density": lambda f: flatness.spectral_density(KEY, f.loss, PARAMS, 2, 5),
    "adaptive": lambda f: flatness.adaptive_sharpness(f.loss, PARAMS, 1e-4),
    "average": lambda f: flatness.average_sharpness(KEY, f.loss, PARAMS, 1e-4, samples=2),
    "relative": lambda f: flatness.relative_flatness(KEY, f.loss, PARAMS, KERNEL),
    "fisher_rao": lambda f: flatness.fisher_rao_norm(f.losses, PARAMS),
    "basin": lambda f: flatness.basin_volume(KEY, f.inside, PARAMS, STD, directions=2),
    "coefficient": lambda f: flatness.learning_coefficient(
        KEY, f.batch, PARAMS, (X, Y), 1e-4, 1.0, **FEW
    ),
}


@pytest.mark.parametrize("dtype", LOWER)
@pytest.mark.parametrize("name", CALLS)
def test_every_call_refuses_a_module_of_lower_dtype(name, dtype):
    with pytest.raises(ValueError, match=f"got {jnp.dtype(dtype).name}, computed from params"):
        CALLS[name](Losses(dtype))


@pytest.mark.parametrize("name", CALLS)
def test_every_call_takes_the_module_without_a_dtype(name):
    CALLS[name](Losses(None))


def test_an_example_of_lower_dtype_is_refused():
    with pytest.raises(ValueError, match="example: got bfloat16"):
        flatness.gauss_newton_diagonal(Losses(None).composed, PARAMS, Losses(jnp.bfloat16).example)


def test_the_twin_of_two_hundred_digits():
    digits = fv.data.load("mnist5k")
    x, y = digits.x[::25].reshape(200, -1), np.where(digits.y[::25] < 5, -1, 1)

    class Twin(nn.Module):
        dtype: object

        @nn.compact
        def __call__(self, x):
            return nn.Dense(1, dtype=self.dtype)(nn.relu(nn.Dense(20, dtype=self.dtype)(x)))

    params = Twin(None).init(KEY, x)["params"]

    def loss(dtype):
        return lambda p: jax.nn.softplus(-y * Twin(dtype).apply({"params": p}, x)[:, 0]).mean()

    assert fv.sharpness(loss(None), params, 1e-5).value == pytest.approx(0.00973, abs=5e-6)
    with pytest.raises(ValueError, match=r"bfloat16.*dtype=None"):
        fv.sharpness(loss(jnp.bfloat16), params, 1e-5)


W = np.array([0.3, -0.7, 1.1])
BF = jnp.bfloat16
TOKENS = np.array([0, 2, 2, 1])


@jax.custom_jvp
def squared(w):
    return jnp.sum(w.astype(BF) ** 2)


@squared.defjvp
def squared_jvp(primals, tangents):
    return squared(*primals), 2 * jnp.sum(primals[0] * tangents[0])


def halved(w):
    return jax.pure_callback(
        lambda w: np.asarray(w, np.float32) / 2, jax.ShapeDtypeStruct((3,), np.float32), w
    )


REFUSED = {
    "result": lambda w: jnp.sum(w**2).astype(jnp.float32),
    "sum": lambda w: jnp.sum(w, dtype=jnp.float32),
    "product": lambda w: jnp.dot(w, w, preferred_element_type=jnp.float32),
    "cast and back": lambda w: jnp.sum(w.astype(BF).astype(jnp.float64)),
    "reduced precision": lambda w: jnp.sum(jax.lax.reduce_precision(w, 8, 7)),
    "under jit": lambda w: jnp.sum(jax.jit(lambda w: w.astype(BF))(w)),
    "checkpoint": lambda w: jax.checkpoint(lambda w: jnp.sum(w.astype(BF)))(w),
    "carry of a loop": lambda w: jax.lax.fori_loop(
        0, 3, lambda i, c: (c[1], c[0].astype(BF).astype(jnp.float64)), (w, w)
    )[0].sum(),
    "second turn of a scan": lambda w: jax.lax.scan(
        lambda c, _: ((w[0], c[0].astype(BF).astype(jnp.float64)), None), (0.0 * 1, 1.0), None, 4
    )[0][1],
    "while": lambda w: jax.lax.while_loop(
        lambda c: c < 10.0, lambda c: c + jnp.abs(w[0].astype(BF)), 1.0
    ),
    "branch": lambda w: jax.lax.cond(
        w[0] > 0, lambda w: w.astype(BF).astype(jnp.float64), lambda w: w, w
    ).sum(),
    "custom rule": squared,
    "vmap": lambda w: jax.vmap(lambda u: u.astype(BF) * u)(w).sum(),
    "no gradient": lambda w: jnp.sum(jax.lax.stop_gradient(w.astype(BF)) * w),
    "callback": lambda w: jnp.sum(halved(w)),
    "64 bits off inside": lambda w: _without_x64(w),
    "algorithm": lambda w: jnp.dot(w, w, precision=jax.lax.DotAlgorithmPreset.BF16_BF16_F32),
    "algorithm in parts": lambda w: jnp.dot(
        w, w, precision=jax.lax.DotAlgorithm(np.float32, np.float32, np.float32)
    ),
    "complex": lambda w: jnp.abs(jnp.sum(w.astype(jnp.complex64))),
}


def _without_x64(w):
    with jax.enable_x64(False):
        return jnp.sum(jnp.asarray(w, jnp.float32))


@pytest.mark.parametrize("name", REFUSED)
def test_a_cast_is_found_wherever_it_stands(name):
    with pytest.raises(ValueError, match=r"loss: got .* computed from params by .*wanted float64"):
        fv.hessian_measures(KEY, REFUSED[name], W, 2)


def unused_cast(w):
    logged = jnp.mean(w.astype(BF))
    jax.debug.callback(lambda value: None, logged)
    return jnp.sum(w**2)


ACCEPTED = {
    "float32 data": lambda w: jnp.sum((jnp.asarray([1, 2, 3], jnp.float32) * w) ** 2),
    "bfloat16 data": lambda w: jnp.sum((jnp.ones(3, BF) * w) ** 2),
    "scaled data": lambda w: jnp.sum((jnp.ones(3, jnp.float32).astype(BF) * 0.1 @ w) ** 2),
    "integers": lambda w: jnp.sum(w[jnp.arange(3) % 2] ** 2),
    "labels": lambda w: jnp.sum(jax.nn.one_hot(jnp.array([1, 2]), 3, dtype=jnp.float32) @ w**2),
    "mask": lambda w: jnp.sum((w > 0).astype(jnp.float32) * w**2),
    "order": lambda w: jnp.sum(w[jnp.argsort(w.astype(jnp.float32))] ** 2),
    "dropout": lambda w: jnp.sum(jax.random.bernoulli(KEY, 0.5, (3,)).astype(BF) * w**2),
    "noise": lambda w: jnp.sum((w + jax.random.normal(KEY, (3,), jnp.float32)) ** 2),
    "loop": lambda w: jax.lax.fori_loop(0, 3, lambda i, c: c * w + i, w).sum(),
    "scan": lambda w: jax.lax.scan(lambda c, x: (c + x * w[0] ** 2, x), 0.0, jnp.ones(3, BF))[0],
    "lookup": lambda w: jnp.sum(
        nn.Embed(3, 1).apply({"params": {"embedding": w[:, None]}}, TOKENS)
    ),
    "unused": unused_cast,
    "precision": lambda w: jnp.dot(w, w, precision="bfloat16"),  # of float64 it is none
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_lower_dtypes_beside_the_parameters_are_no_matter(name):
    found = fv.hessian_measures(KEY, ACCEPTED[name], W, 2)
    assert np.isfinite(found.trace)


def test_an_algorithm_of_float64_is_no_rounding():
    double = jax.lax.DotAlgorithm(np.float64, np.float64, np.float64)
    for algorithm in ("DEFAULT", "F64_F64_F64", double):
        with jax.enable_x64(True):
            traced = jax.jit(lambda w, a=algorithm: jnp.dot(w, w, precision=a)).trace(W)
        flatness.loss_precision.check_float64("loss", traced, W)


def test_the_callers_precision_of_products_changes_nothing():
    with jax.default_matmul_precision("BF16_BF16_F32"):
        found = fv.hessian_measures(KEY, lambda w: jnp.dot(w, w), W / 3, 2)
    np.testing.assert_allclose(found.eigenvalues, 2.0, rtol=1e-14)


def test_a_comparison_of_lower_dtype_decides_no_region():
    def inside(p):
        return jax.lax.cond(p.astype(BF).sum() < 100, lambda: True, lambda: False)

    with pytest.raises(ValueError, match="inside: got bfloat16"):
        flatness.basin_volume(KEY, inside, W, np.ones(()) * np.ones(3), directions=2)


def test_a_share_of_right_answers_may_be_counted_in_float32():
    def inside(p):
        return jnp.mean((p < 100).astype(jnp.float32)) > 0.5

    assert flatness.basin_volume(KEY, inside, W, np.ones(3), directions=2).status
