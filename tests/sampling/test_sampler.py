import itertools
import os
import subprocess
import sys
import textwrap

import flax.linen as nn
import jax
import numpy as np
import pytest
import scipy.stats

import flatvol_jax as fv
from flatvol_jax.sampling import count_of, draw_functions, most_frequent, sample_functions

SPEC = fv.FCN((10, 10), sigma_w=1.0, sigma_b=0.1)
CUBE = np.array(list(itertools.product([0, 1], repeat=3)), np.float32)
KEY = jax.random.key(0)


def counts_of(sample):
    return {f.tobytes(): int(c) for f, c in zip(sample.functions, sample.counts, strict=True)}


def test_counts_add_up_to_the_samples():
    sample = sample_functions(KEY, SPEC, CUBE, 5000, chunk_size=1024)
    assert sample.counts.sum() == sample.samples == sample.matching == 5000
    assert (np.diff(sample.counts) <= 0).all()
    assert sample.distinct == len(sample.functions) == len(np.unique(sample.functions, axis=0))
    assert (sample.frequencies[:, 1]).sum() == sample.distinct
    assert (sample.frequencies.prod(axis=1)).sum() == 5000
    np.testing.assert_allclose(np.exp(sample.log_volume), sample.counts / 5000)
    top = sample_functions(KEY, SPEC, CUBE, 5000, top=3, chunk_size=1024)
    np.testing.assert_array_equal(top.functions, sample.functions[:3])
    assert top.distinct == sample.distinct


@pytest.mark.parametrize("x64", [False, True])
def test_the_callers_x64_setting_changes_nothing(x64):
    with jax.enable_x64(x64):
        sample = sample_functions(KEY, SPEC, CUBE, 3000, chunk_size=1024)
    assert counts_of(sample) == counts_of(sample_functions(KEY, SPEC, CUBE, 3000, chunk_size=1024))


def test_two_inputs_and_one_hidden_unit_have_the_exact_integral():
    """v relu(w x + b) + c at x = 1, 2: given h, both outputs are normal, so that both are above 0
    with probability 1/4 + asin(ρ)/2π; averaged over the quantiles of w and b."""
    spec, x = fv.FCN((1,), sigma_w=1.0, sigma_b=0.7), np.array([[1.0], [2.0]], np.float32)

    quantiles = scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    h = np.maximum(quantiles[:, None, None] * x[:, 0] + 0.7 * quantiles[:, None], 0)
    k = h[..., :, None] * h[..., None, :] + 0.7**2
    rho = k[..., 0, 1] / np.sqrt(k[..., 0, 0] * k[..., 1, 1])
    exact = 0.25 + np.mean(np.arcsin(np.minimum(rho, 1))) / (2 * np.pi)
    sample = sample_functions(KEY, spec, x, 400_000)
    log_volume = dict(zip(map(tuple, sample.functions), sample.log_volume, strict=True))
    error = dict(zip(map(tuple, sample.functions), sample.standard_error, strict=True))
    for both in ((1, 1), (-1, -1)):
        assert abs(log_volume[both] - np.log(exact)) < 4 * error[both]
    for one in ((1, -1), (-1, 1)):
        assert abs(log_volume[one] - np.log(0.5 - exact)) < 4 * error[one]


def test_of_one_input_half_the_networks_are_above_zero():
    sample = sample_functions(KEY, SPEC, CUBE[3:4], 100_000)
    assert (np.abs(sample.log_volume - np.log(0.5)) < 4 * sample.standard_error).all()


def test_a_wide_network_has_the_volumes_of_its_kernel():
    spec = fv.FCN((400,), sigma_w=1.0, sigma_b=1.0)
    sample = sample_functions(KEY, spec, CUBE, 40_000, top=6)
    exact = fv.estimate_log_volume(jax.random.key(1), fv.nngp_kernel(spec, CUBE), sample.functions)
    error = np.hypot(sample.standard_error, exact.standard_error)
    assert (np.abs(sample.log_volume - exact.log_volume) < 4 * error + 0.02).all()


def test_f_and_not_f_have_the_same_volume():
    sample = sample_functions(KEY, SPEC, CUBE, 200_000)
    counts = counts_of(sample)
    pairs = [
        (c, counts.get((-f).tobytes(), 0))
        for f, c in zip(sample.functions, sample.counts, strict=True)
    ]
    pairs = np.array([pair for pair in pairs if sum(pair) > 50])
    z = (pairs[:, 0] - pairs[:, 1]) / np.sqrt(pairs.sum(axis=1))
    assert len(z) > 20
    assert (z**2).mean() < 1 + 5 * np.sqrt(2 / (len(z) / 2))


def test_a_symmetric_sample_counts_pairs():
    plain = sample_functions(KEY, SPEC, CUBE, 20_000, chunk_size=4096)
    pairs = sample_functions(KEY, SPEC, CUBE, 20_000, chunk_size=4096, symmetric=True)
    counts = counts_of(plain)
    assert (pairs.functions[:, 0] == -1).all()
    for f, count in zip(pairs.functions, pairs.counts, strict=True):
        assert count == counts.get(f.tobytes(), 0) + counts.get((-f).tobytes(), 0)
    np.testing.assert_allclose(pairs.volume, pairs.counts / 40_000)


def test_the_constant_functions_of_seven_bits_take_a_sixth():
    """About 0.17 of all networks 7-40-40-1 with sigma_b = 0.1, by Valle-Pérez et al. (2018)."""
    x = fv.data.load("boolean7").x
    spec = fv.FCN((40, 40), sigma_w=1.0, sigma_b=0.1)
    sample = sample_functions(KEY, spec, x, 2**16, top=2)
    assert set(np.abs(sample.functions.sum(axis=1))) == {128}
    assert abs(sample.volume.sum() - 0.17) < 0.005


@pytest.mark.parametrize("symmetric", [False, True])
def test_standard_errors_are_the_spread_over_keys(symmetric):
    runs = [
        sample_functions(
            jax.random.key(k), SPEC, CUBE, 2048, 4, chunk_size=2048, symmetric=symmetric
        )
        for k in range(60)
    ]
    common = set.intersection(*[{f.tobytes() for f in run.functions[:2]} for run in runs])
    assert common
    for f in common:
        logs, errors = zip(
            *[
                (run.log_volume[i], run.standard_error[i])
                for run in runs
                for i in range(4)
                if run.functions[i].tobytes() == f
            ],
            strict=True,
        )
        ratio = np.var(logs, ddof=1) / np.mean(np.square(errors)) * 59
        assert scipy.stats.chi2.ppf(1e-3, 59) < ratio < scipy.stats.chi2.ppf(0.999, 59)


def test_shared_hidden_layers_keep_the_volume():
    plain = sample_functions(KEY, SPEC, CUBE, 2**17, 4, chunk_size=2**13)
    shared = sample_functions(
        jax.random.key(1), SPEC, CUBE, 2**17, 20, chunk_size=2**13, readouts=16
    )
    volumes = dict(
        zip(
            map(bytes, shared.functions),
            zip(shared.log_volume, shared.standard_error, strict=True),
            strict=True,
        )
    )
    for f, log_volume, error in zip(
        plain.functions, plain.log_volume, plain.standard_error, strict=True
    ):
        value, wider = volumes[bytes(f)]
        assert abs(value - log_volume) < 4 * np.hypot(wider, error)


def test_errors_of_shared_hidden_layers_are_the_spread_over_keys():
    function = np.ones((1, 8), np.int8)
    found = [
        count_of(
            draw_functions(jax.random.key(k), SPEC, CUBE, 4096, readouts=16, chunk_size=256),
            function,
        )
        for k in range(50)
    ]
    logs = np.array([f.log_volume[0] for f in found])
    ratio = logs.var(ddof=1) / np.mean([f.standard_error[0] ** 2 for f in found])
    assert 0.6 < ratio < 1.6


def test_an_interrupted_sample_ends_with_the_same_counts(tmp_path):
    def stop(done):
        if done >= 4096:
            raise KeyboardInterrupt

    call = dict(chunk_size=1024, workdir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        sample_functions(KEY, SPEC, CUBE, 9000, progress=stop, **call)
    assert len(list(tmp_path.iterdir())) == 4
    done = []
    resumed = sample_functions(KEY, SPEC, CUBE, 9000, progress=done.append, **call)
    assert done[0] == 4096
    assert done[-1] == 9000
    assert counts_of(resumed) == counts_of(sample_functions(KEY, SPEC, CUBE, 9000, chunk_size=1024))


def test_more_samples_reuse_the_chunks_that_are_whole(tmp_path):
    sample_functions(KEY, SPEC, CUBE, 2500, chunk_size=1024, workdir=tmp_path)
    done = []
    more = sample_functions(
        KEY, SPEC, CUBE, 5000, chunk_size=1024, workdir=tmp_path, progress=done.append
    )
    assert done[0] == 2048
    assert counts_of(more) == counts_of(sample_functions(KEY, SPEC, CUBE, 5000, chunk_size=1024))


def test_a_damaged_chunk_is_drawn_again(tmp_path):
    whole = sample_functions(KEY, SPEC, CUBE, 4096, chunk_size=1024, workdir=tmp_path)
    cut, emptied, foreign, _ = sorted(tmp_path.iterdir())
    cut.write_bytes(cut.read_bytes()[:-8])
    emptied.write_bytes(b"")
    foreign.write_bytes(b"not an array")
    done = []
    with pytest.warns(UserWarning, match=r"\.npy: damaged, computed again") as caught:
        again = sample_functions(
            KEY, SPEC, CUBE, 4096, chunk_size=1024, workdir=tmp_path, progress=done.append
        )
    assert len(caught) == 3
    assert done[0] == 1024
    assert counts_of(again) == counts_of(whole)


@pytest.mark.parametrize(
    "other",
    [
        dict(key=jax.random.key(1)),
        dict(spec=fv.FCN((10, 10), sigma_w=1.0, sigma_b=0.2)),
        dict(x=CUBE[::-1]),
        dict(symmetric=True),
        dict(readouts=2),
        dict(chunk_size=512),
    ],
)
def test_a_folder_may_hold_samples_of_several_kinds(tmp_path, other):
    asked = dict(key=KEY, spec=SPEC, x=CUBE, samples=1024, chunk_size=1024, workdir=tmp_path)
    draw_functions(**asked)
    done = []
    draw_functions(**asked | other, progress=done.append)
    assert done[0] == 0


def test_a_condition_leaves_the_functions_that_fulfil_it():
    draws = draw_functions(KEY, SPEC, CUBE, 20_000, chunk_size=4096)
    condition = np.array([1, 0, 0, -1, 0, 0, 0, 0])
    all_of_them = most_frequent(draws)
    fits = (all_of_them.functions[:, [0, 3]] == [1, -1]).all(axis=1)
    found = most_frequent(draws, condition=condition)
    assert 0 < found.distinct == fits.sum() < len(fits)
    np.testing.assert_array_equal(found.functions, all_of_them.functions[fits])
    assert found.matching == all_of_them.counts[fits].sum()
    assert found.samples == 20_000


def test_given_functions_are_counted():
    draws = draw_functions(KEY, SPEC, CUBE, 20_000, chunk_size=4096)
    sample = most_frequent(draws, 10)
    parity = np.where(CUBE.sum(axis=1) % 2, 1, -1)[None]
    found = count_of(draws, np.concatenate([parity, sample.functions[::-1]]))
    np.testing.assert_array_equal(found.counts[1:], sample.counts[::-1])
    assert found.counts[0] == 0
    assert found.log_volume[0] == -np.inf
    assert np.isnan(found.standard_error[0])


class Net(nn.Module):
    """The network of SPEC as somebody else would write it."""

    @nn.compact
    def __call__(self, x):
        for layer, fan_in in enumerate((3, 10, 10)):
            normal = nn.initializers.normal
            weights, units = normal(1 / fan_in**0.5), 10 if layer < 2 else 1
            x = nn.Dense(units, kernel_init=weights, bias_init=normal(0.1))(x)
            if layer < 2:
                x = nn.relu(x)
                self.sow("intermediates", f"hidden_{layer}", x)
        return x


def test_another_spec_has_the_same_volumes():
    """The same network as a module of its own, drawn by its own init, against the FCN's program."""
    net = fv.FlaxModel(Net(), features="hidden_1", sigma_w=1.0, sigma_b=0.1)
    other = sample_functions(jax.random.key(1), net, CUBE, 60_000, 8)
    own = count_of(draw_functions(KEY, SPEC, CUBE, 60_000), other.functions)
    z = (own.log_volume - other.log_volume) / np.hypot(own.standard_error, other.standard_error)
    assert (z**2).sum() < scipy.stats.chi2.ppf(0.9999, 8)


def test_the_number_of_devices_changes_no_count():
    script = textwrap.dedent(
        """
        import jax, itertools, numpy as np, flatvol_jax as fv
        x = np.array(list(itertools.product([0, 1], repeat=3)), np.float32)
        s = fv.sample_functions(
            jax.random.key(0), fv.FCN((10, 10), 1.0, 0.1), x, 10_000, chunk_size=1024
        )
        print(jax.local_device_count(), s.functions.tobytes().hex(), *s.counts)
        """
    )
    outputs = []
    for devices in (1, 4):
        flags = (
            os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={devices}"
        )
        outputs.append(
            subprocess.run(
                [sys.executable, "-c", script],
                env=os.environ | {"XLA_FLAGS": flags},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split(maxsplit=1)
        )
    assert [devices for devices, _ in outputs] == ["1", "4"]
    assert outputs[0][1] == outputs[1][1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(samples=0), "samples: got 0"),
        (dict(samples=1.5), "samples: got 1.5"),
        (dict(top=0), "top: got 0"),
        (dict(chunk_size=0), "chunk_size"),
        (dict(readouts=0), "readouts"),
        (dict(x=CUBE[0]), "x: got shape"),
        (dict(x=CUBE[:0]), "x: got shape"),
        (dict(x=np.full((2, 3), np.nan)), "NaN"),
        (dict(spec=fv.FCN((4,), 1.0, 0.0)), "row 0 is zero"),
        (dict(spec=fv.CNN((4,), image_shape=(3, 1)), symmetric=True), "wanted|need an FCN"),
        (dict(readouts=2, chunk_size=1000), "8"),
    ],
)
def test_bad_input_is_refused(changed, message):
    asked = dict(key=KEY, spec=SPEC, x=CUBE, samples=2000)
    with pytest.raises(ValueError, match=message):
        sample_functions(**asked | changed)


def test_a_sample_beyond_memory_is_refused_and_a_workdir_advised(free):
    free(10**6)
    with pytest.raises(ValueError, match="samples: got n = 1000000, .* Give a workdir"):
        sample_functions(KEY, SPEC, CUBE, 10**6)


@pytest.mark.parametrize(
    "functions", [np.ones((2, 7)), np.ones(8), np.zeros((1, 8)), np.full((1, 200), 1)]
)
def test_functions_of_another_shape_are_refused(functions):
    draws = draw_functions(KEY, SPEC, CUBE, 64, chunk_size=64)
    with pytest.raises(ValueError, match="functions"):
        count_of(draws, functions)


@pytest.mark.parametrize("condition", [np.ones(7), np.full(8, 2), np.ones((1, 8))])
def test_a_condition_of_another_shape_is_refused(condition):
    draws = draw_functions(KEY, SPEC, CUBE, 64, chunk_size=64)
    with pytest.raises(ValueError, match="condition"):
        most_frequent(draws, condition=condition)
