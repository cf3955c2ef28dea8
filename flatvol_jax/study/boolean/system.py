"""The Boolean system: all 2^n inputs of a cube, a network on them, and the kernel."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from flatvol_jax import data
from flatvol_jax.kernels import nngp_kernel
from flatvol_jax.models import FCN
from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.settings import group
from flatvol_jax.study.measures.problem import Problem
from flatvol_jax.study.measures.study_config import check_one_output, model_spec

ENCODINGS = ("01", "signs")


@dataclasses.dataclass(frozen=True)
class BooleanSystem:
    """The network and its inputs.

    Attributes:
        spec: the network.
        x: the cube in lexicographic order, (m, n) float32, in {0, 1} or {-1, 1}; m = 2^n, or
            2^n - 1 without the zero input, whose output is exactly 0 where sigma_b = 0.
        notes: what a reader must be told of the inputs.
    """

    spec: FCN
    x: np.ndarray
    notes: tuple[str, ...]

    @functools.cached_property
    def kernel(self) -> np.ndarray:
        """Return the NNGP kernel of the spec on x, (m, m) float64."""
        return nngp_kernel(self.spec, self.x)

    def problem(self, function: np.ndarray, cache: epath.PathLike) -> Problem:
        """Return all inputs as S with the labels of a function; nothing else."""
        inputs, labels = self.x[:0], np.zeros(0, np.int8)
        return Problem(
            self.spec,
            train_x=self.x,
            train_y=function,
            attack_x=inputs,
            attack_y=labels,
            test_x=inputs,
            test_y=labels,
            second_test_x=inputs,
            second_test_y=labels,
            batch_size=None,
            kernel_key=jax.random.key(0),
            kernel_samples={},
            cache=epath.Path(cache),
        )


def make_system(config: Mapping[str, Any]) -> BooleanSystem:
    """Return the system of hp.bits, hp.encoding and hp.model."""
    hp = group(config, "hp", "bits", "encoding", "model")
    encoding = checks.one_of("hp.encoding", hp["encoding"], ENCODINGS)
    if hp["bits"] not in range(2, 11):
        raise ValueError(
            f"hp.bits: got {hp['bits']!r}, wanted 2 to 10: a function has 2^bits labels."
        )
    spec = model_spec(hp["model"])
    if not isinstance(spec, FCN):
        raise ValueError(
            f"hp.model.name: got {hp['model']['name']!r}, wanted 'fcn': networks of several widths "
            "are compared."
        )
    check_one_output(spec, "a Boolean system")
    x = data.load(f"boolean{hp['bits']}").x
    if encoding == "signs":
        return BooleanSystem(spec, 2 * x - 1, ())
    if spec.sigma_b == 0:
        note = "The zero input is left out: with sigma_b = 0 its output is exactly 0."
        return BooleanSystem(spec, x[1:], (note,))
    return BooleanSystem(spec, x, ())
