"""Check once that a network in evaluation answers each input by itself, and that training moves
its statistics.

Both run the network on four real inputs, with parameters drawn at random: which inputs an output
depends on is decided by the program, not by the numbers, and a readout that starts at zero would
hide it.
"""

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models.inputs import KNOWN_SPECS
from flatvol_jax.models.modes import FLAGS
from flatvol_jax.models.row_dependence import answers_row_by_row, depends_on_inputs
from flatvol_jax.models.spec import Spec

STATISTICS = "batch_stats"  # Flax's collection of what a BatchNorm runs
_ROWS = 4
_CANDIDATES = 64  # inputs among which distinct ones are sought
_checked: set[tuple] = set()


def check_evaluation(spec: Spec, x: Array | np.ndarray, part: str = "apply") -> None:
    """Check that the outputs of an input depend on no other input, order, or random number.

    Four inputs are run in one batch, in two further batches of the same size where each is in
    another place beside other inputs, and one of them alone. The outputs may differ by √ε of the
    largest, ε the precision in which the network computes: rounding moves them by about ε times
    the network's condition, batch statistics by the order of the outputs themselves. What float32
    finds is checked again in float64 where the network computes in it, so that a network with
    large rounding errors is not refused.

    Most networks are not run, because their program proves it (`row_dependence`). The check takes
    place once a process for each spec and kind of inputs, and never for the networks of this
    library, which its tests check.

    Args:
        spec: the network.
        x: (n, ...) inputs.
        part: "apply" or "features".

    Raises:
        ValueError: outputs that differ.
    """
    if type(spec) in KNOWN_SPECS or not len(x):
        return
    key = (part, spec, x.shape[1:], str(x.dtype))
    if key in _checked:
        return
    rows = _sample(x)
    if _proved_by_rows(spec, part, rows):
        _checked.add(key)
        return
    with jax.default_matmul_precision("highest"):
        with jax.enable_x64(False):
            differing = _differing_outputs(spec, part, rows, np.float32)
        if differing is not None and np.dtype(differing.dtype) == np.float32:
            # A network that computes in float32 only may fail in float64: then float32 decides.
            with contextlib.suppress(Exception), jax.enable_x64(True):
                differing = _differing_outputs(spec, part, rows, np.float64)
    if differing is not None:
        raise ValueError(
            f"spec: {_name(spec)}.{part} gives an input {differing.one:.6g} in one batch and "
            f"{differing.other:.6g} in another; wanted outputs in evaluation that depend on that "
            "input alone, not on the rest of the batch, the place in it or random numbers. Is a "
            "BatchNorm or a Dropout in training mode? Switch it by a flag, one of "
            f"{', '.join(FLAGS)}, that the module's __call__ takes or that is a field of it."
        )
    _checked.add(key)


def check_statistics_move(spec: Spec, x: np.ndarray) -> None:
    """Check that training mode moves each running statistic of the network.

    Once a process for each spec and kind of inputs.

    Args:
        spec: the network.
        x: (n, ...) inputs.

    Raises:
        ValueError: a statistic that stays, by name.
    """
    key = ("train_apply", spec, x.shape[1:], str(x.dtype))
    if type(spec) in KNOWN_SPECS or key in _checked or not len(x):
        return
    with jax.enable_x64(False):
        rows, mask = np.stack(_sample(x)), np.ones(_ROWS, bool)
        if not _proved_to_move(spec, rows, mask):
            params, state = random_network(spec, x.shape[1:], np.float32)
            _, moved = jax.jit(spec.train_apply)(params, state, rows, mask)
            before, after = _statistics(state), _statistics(moved)
            still = [path for path in before if np.array_equal(before[path], after[path])]
            if still:
                raise ValueError(
                    f"spec: training mode of {_name(spec)} leaves {', '.join(still[:3])}"
                    f"{' and others' if len(still) > 3 else ''} as they were, so that evaluation "
                    "would have the statistics of initialisation. Does the module's __call__ take "
                    f"the flag that switches its BatchNorms, under one of the names "
                    f"{', '.join(FLAGS)}, or has it as a field? Is a momentum 1? A BatchNorm that "
                    "is to stay fixed is a scale and a shift: write it as such."
                )
    _checked.add(key)


def _proved_by_rows(spec: Spec, part: str, rows: list[np.ndarray]) -> bool:
    """Tell whether the network's program proves that it answers each input alone."""
    with jax.enable_x64(False):
        params, state = _shapes(spec, rows[0].shape)
        dtype = np.float32 if rows[0].dtype.kind == "f" else rows[0].dtype
        program = jax.jit(lambda params, x, state: getattr(spec, part)(params, x, state))
        several, alone = (
            program.trace(params, jax.ShapeDtypeStruct((n, *rows[0].shape), dtype), state)
            for n in (_ROWS, 1)
        )
    return answers_row_by_row(several, alone, len(jax.tree.leaves(params)))


def _proved_to_move(spec: Spec, rows: np.ndarray, mask: np.ndarray) -> bool:
    """Tell whether the program of training proves that the inputs enter each statistic."""
    params, state = _shapes(spec, rows.shape[1:])
    moved = [STATISTICS in jax.tree_util.keystr(p) for p, _ in _with_path(state)]
    if not any(moved):
        return True
    traced = jax.jit(spec.train_apply).trace(params, state, rows, mask)
    entered = depends_on_inputs(traced, len(jax.tree.leaves((params, state))))
    return entered is not None and all(e for e, m in zip(entered[1:], moved, strict=True) if m)


def random_network(spec: Spec, input_shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Return random parameters and state, without compiling the spec's own draw.

    Matrices are normal with variance 1/fan-in, vectors and the state uniform in [0.5, 1.5].
    """
    shapes = _shapes(spec, input_shape)
    rng = np.random.default_rng(0)

    def drawn(leaf, normal):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return np.zeros(leaf.shape, leaf.dtype)
        if normal and len(leaf.shape) > 1:
            values = rng.normal(size=leaf.shape) / max(np.prod(leaf.shape[:-1]), 1) ** 0.5
        else:
            values = rng.uniform(0.5, 1.5, leaf.shape)
        return values.astype(dtype if leaf.dtype == np.float32 else leaf.dtype)

    params = jax.tree.map(lambda leaf: drawn(leaf, True), shapes[0])
    return params, jax.tree.map(lambda leaf: drawn(leaf, False), shapes[1])


@functools.lru_cache(maxsize=64)
def _shapes(spec: Spec, input_shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the shapes of parameters and state; traced once."""
    with jax.enable_x64(False):
        return jax.eval_shape(
            lambda key: (spec.init(key, input_shape), spec.init_state(input_shape)),
            jax.random.key(0),
        )


class _DifferingOutputs:
    """Two outputs of one input, and the precision they were computed in."""

    def __init__(self, one: float, other: float, dtype: np.dtype):
        self.one, self.other, self.dtype = one, other, dtype


def _differing_outputs(
    spec: Spec, part: str, rows: list[np.ndarray], dtype
) -> _DifferingOutputs | None:
    """Find two outputs of one input that differ by more than rounding can, if there are any."""
    a, b, c, d = [row.astype(dtype) if row.dtype.kind == "f" else row for row in rows]
    traced = jax.jit(lambda params, x, state: getattr(spec, part)(params, x, state)).trace
    shape = a.shape

    def outputs(network, *batches):
        size = len(batches[0])
        program = traced(network[0], np.stack(batches[0]), network[1])
        compiled = program.lower().compile(_quick_compile_options())
        with jax.ensure_compile_time_eval():  # also where a loss around it is being traced
            found = [compiled(network[0], np.stack(batch), network[1]) for batch in batches]
            return [np.asarray(y, np.float64).reshape(size, -1) for y in found], program.jaxpr

    for drawn in (random_network, _initialised_network):
        network = drawn(spec, shape, dtype)
        (abcd, baba, dcdc), jaxpr = outputs(network, (a, b, c, d), (b, a, b, a), (d, c, d, c))
        (alone,), _ = outputs(network, (a,))
        one = np.concatenate([abcd[:2], abcd[:2], abcd[2:], abcd[2:], abcd[:1]])
        other = np.concatenate([baba[1::-1], baba[3:1:-1], dcdc[1::-1], dcdc[3:1:-1], alone])
        finite = np.isfinite(one).all() and np.isfinite(other).all()
        if finite:
            break
    scale = np.abs(one[np.isfinite(one)]).max(initial=0)
    with np.errstate(invalid="ignore"):
        difference = np.abs(one - other)
    difference[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
    precision = np.dtype(dtype)
    if np.all(difference <= jnp.finfo(precision).eps ** 0.5 * scale):
        return None
    precision = _least_precision(jaxpr.jaxpr, precision)
    worst = np.unravel_index(np.nan_to_num(difference, nan=np.inf).argmax(), difference.shape)
    if difference[worst] <= jnp.finfo(precision).eps ** 0.5 * scale:
        return None
    return _DifferingOutputs(float(one[worst]), float(other[worst]), precision)


def _quick_compile_options() -> dict[str, int] | None:
    """Return compiler options for a program that runs a few times on four inputs."""
    return {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None


def _initialised_network(spec: Spec, input_shape: tuple[int, ...], dtype) -> tuple[Any, Any]:
    """Return the network as it initialises itself, for where random numbers make outputs NaN."""

    def cast(leaf):
        return leaf.astype(dtype) if leaf.dtype == np.float32 else leaf

    with jax.enable_x64(False), jax.ensure_compile_time_eval():
        found = spec.init(jax.random.key(0), input_shape), spec.init_state(input_shape)
    return jax.tree.map(lambda leaf: cast(np.asarray(leaf)), found)


def _least_precision(jaxpr: Any, precision: np.dtype) -> np.dtype:
    """Return the floating dtype of the fewest digits among what a program computes."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            dtype = getattr(variable.aval, "dtype", None)
            floating = dtype is not None and jnp.issubdtype(dtype, jnp.floating)
            if floating and jnp.finfo(dtype).eps > jnp.finfo(precision).eps:
                precision = np.dtype(dtype)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                precision = _least_precision(inner, precision)
    return precision


def _sample(x: Array | np.ndarray) -> list[np.ndarray]:
    """Choose four inputs, distinct and finite where x has such; else rolled or constant ones."""
    chosen = np.unique(np.linspace(0, len(x) - 1, _CANDIDATES).astype(int))
    rows, seen = [], set()
    for row in np.asarray(x[chosen]):
        fine = row.dtype.kind in "iub" or np.isfinite(row.astype(np.float64)).all()
        if fine and row.tobytes() not in seen:
            seen.add(row.tobytes())
            rows.append(row)
    first = rows[0] if rows else np.zeros(x.shape[1:], x.dtype)
    others = [np.roll(first, 1), np.zeros_like(first), np.roll(first, -1), np.ones_like(first)]
    rows = rows[:: max(len(rows) // _ROWS, 1)][:_ROWS]
    return (rows + others)[:_ROWS] if rows else [first, *others[:3]]


def _statistics(state: Any) -> dict[str, Any]:
    named = {jax.tree_util.keystr(path): leaf for path, leaf in _with_path(state)}
    return {path: np.asarray(leaf) for path, leaf in named.items() if STATISTICS in path}


def _with_path(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _name(spec: Spec) -> str:
    module = getattr(spec, "module", spec)
    return type(module).__name__
