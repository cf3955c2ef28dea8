"""Sums of feature products in float64, kept while they grow so that a killed run continues."""

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable

import jax
import numpy as np
from etils import epath
from jaxtyping import Float, Real
from scipy.linalg.blas import dsyrk

from flatvol_jax.kernels import prior_check
from flatvol_jax.kernels.monte_carlo_features import sample_features
from flatvol_jax.models import Spec
from flatvol_jax.runtime import cache, files
from flatvol_jax.runtime.preemption import safe_point, stop_asked

_SECONDS = 60.0  # between two writes


@dataclasses.dataclass(frozen=True)
class SumFiles:
    """The files of one sum, `name`-`done`-of-`wanted`.npz; without a folder there are none.

    A file of any `wanted` continues any other, since samples have an order. A damaged file, or a
    folder that cannot be written, only costs the time of computing again, and is said.

    Attributes:
        folder: where the files lie; made when missing.
        name: hash of what determines the sum.
        wanted: samples of the whole sum.
    """

    folder: epath.Path | None
    name: str
    wanted: int

    def read(self, n: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Read the intact file with the most samples, at most those wanted: (done, sums, checked).

        Without one, 0 and zeros. `checked` are the sums of `prior_check`; zeros of a file that
        has none.
        """
        for done, _, path in sorted(self._files(), reverse=True):
            if done > self.wanted:
                continue
            try:
                arrays = files.read_arrays(path)
                sums = arrays["sums"]
                checked = arrays.get("checked", prior_check.no_networks())
            except FileNotFoundError:  # dropped by another process, which is further
                continue
            except (ValueError, KeyError):
                cache.warn_damaged(path)
                continue
            if sums.shape == (n, n) and sums.dtype == np.float64:
                return done, np.asfortranarray(sums), checked
            cache.warn_damaged(path)
        return 0, np.zeros((n, n), order="F"), prior_check.no_networks()

    def write(self, done: int, sums: np.ndarray, checked: np.ndarray) -> None:
        """Write the sums of the first `done` samples, then drop what they continue."""
        if self.folder is None:
            return
        path = self.folder / f"{self.name}-{done}-of-{self.wanted}.npz"
        try:
            files.write_arrays(path, {"sums": sums, "checked": checked})
            for older, wanted, part in self._files():
                if wanted == self.wanted and older < done:
                    part.unlink(missing_ok=True)
        except OSError as error:
            cache.warn_not_kept(self.folder, error)

    def _files(self) -> list[tuple[int, int, epath.Path]]:
        found = []
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir() if self.folder is not None else ():
                match = re.fullmatch(rf"{self.name}-(\d+)-of-(\d+)\.npz", path.name)
                if match:
                    found.append((int(match[1]), int(match[2]), path))
        return found


def feature_sums(
    spec: Spec,
    x: Real[np.ndarray, "n ..."],
    keys: jax.Array,
    width: int,
    block: int,
    store: SumFiles,
    progress: Callable[[int], None],
    reference: Real[np.ndarray, "m ..."] | None = None,
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, " sums"]]:
    """Sum h_m h_m' over the networks of all keys, the upper triangle of (n, n) float64.

    With it the sums by which `prior_check` holds the networks' outputs against it.

    Features of `block` samples side by side enter in one symmetric product. They are added in
    the order of the keys, so that the sum depends on the block but not on devices, on how often
    the work was killed, or on the number of keys that follow.

    Args:
        spec: the network.
        x: (n, ...) float32 inputs.
        keys: one a sample.
        width: N_L, features of a sample.
        block: samples in one product.
        store: where the sums are read, and written every minute.
        progress: called with the number of samples done, after each block.
        reference: (m, ...) float32 inputs whose batch statistics normalise each network.

    Raises:
        ValueError: features that are not finite; outputs of another variance than the spec says.
        Stopped: a stop was asked for, and the sums are in the store.
    """
    done, sums, checked = store.read(len(x))
    progress(done)
    if done == len(keys):
        return sums, checked
    columns = np.empty((len(x), min(block, len(keys) - done) * width))
    filled, written = 0, time.monotonic()
    rows = prior_check.checked_rows(len(x))
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    for features, outputs in sample_features(spec, x, keys[done:], reference):
        columns[:, filled : filled + width] = features
        filled += width
        wanted = checked[0] + len(pending) < prior_check.NETWORKS
        if wanted and np.isfinite(features[rows]).all() and np.isfinite(outputs[rows]).all():
            pending.append((features[rows], outputs[rows]))
        if filled < columns.shape[1] and done + filled // width < len(keys):
            continue
        sums = dsyrk(1.0, columns[:, :filled].T, beta=1.0, c=sums, trans=1, overwrite_c=1)
        done, filled = done + filled // width, 0
        finished = done == len(keys)
        if finished and not np.isfinite(sums).all():
            raise ValueError(
                "spec: got NaN or infinite features at initialisation, wanted finite ones. Look "
                "at spec.features(spec.init(key, x.shape[1:]), x) and the scale of x."
            )
        if pending:
            before, (h, o) = checked[0], map(np.stack, zip(*pending, strict=True))
            checked = checked + prior_check.network_sums(h, o, spec.sigma_w, spec.sigma_b)
            pending = []
            if before < prior_check.EARLY <= checked[0]:
                prior_check.check_prior(checked, spec)
        if finished or stop_asked() or time.monotonic() - written > _SECONDS:
            store.write(done, sums, checked)
            written = time.monotonic()
        progress(done)
        if store.folder is not None:
            safe_point()
    return sums, checked
