"""A sweep of four networks with every measure on: interrupted, thinned out, extended.

Resumed numbers are compared with those of one undisturbed run bit for bit. test_resume.py
holds the same promises over two draws and other settings.
"""

import copy
import shutil
from pathlib import Path

import pytest

from configs.mnist_fcn import get_config
from flatvol_jax.study import load_records
from flatvol_jax.study.analysis import columns
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.measures.registry import MEASURES, chosen_measures
from flatvol_jax.study.sweep.run import run_attack_sweep


@pytest.fixture(scope="module")
def config():
    config = get_config("smoke")
    config.hp.data.update(train_size=40, attack_pool_size=40, test_size=30, second_test_size=100)
    config.hp.model.width = (8,)
    config.hp.train.update(learning_rate=0.32, max_epochs=60)  # the steps of 0.01 on the sum
    config.sweep.update(draws=1, attack_sizes=(0, 40), samples=2)
    config.ensemble = 3  # so that a group of the sweep mixes sizes, and one is filled up
    config.measures.sgd_sharpness.update(epochs=3, batch_size=16)
    config.measures.hessian.k = 4
    config.measures.log_volume_train.on = True
    config.measures.scale_invariant.update(on=True, samples=2)
    config.measures.basin_volume.update(on=True, directions=4)
    config.measures.learning_coefficient.update(
        on=True, batch_size=16, chains=2, steps=20, burn_in=5, thin=5
    )
    config.measures.spectral_density.update(on=True, probes=2, depth=10)
    return config.to_dict()


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    calls = []
    rows = run_attack_sweep(config, workdir, progress=lambda *call: calls.append(call))
    return workdir, rows, calls


@pytest.fixture
def copied(undisturbed, tmp_path):
    """A workdir of the test's own with all of the work done; times of files kept."""
    workdir = tmp_path / "copied"
    shutil.copytree(undisturbed[0], workdir)
    return workdir


MEASURED = MEASURES.keys() - {"kernel_error"}  # the kernel is exact here
UNITS = 4 * (1 + len(MEASURED))  # four networks, trained and measured


def bits(rows):
    """Everything but meta.*, floats by their bits."""
    return {
        row["run_id"]: {
            name: value.hex() if isinstance(value, float) else value
            for name, value in row.items()
            if not name.startswith("meta.")
        }
        for row in rows
    }


def units(workdir):
    """(stage, file) -> time of writing."""
    return {
        (path.parent.name, path.name): path.stat().st_mtime_ns
        for path in Path(workdir).glob("units/*/*")
    }


def written(before, after):
    return {unit for unit, when in after.items() if before.get(unit) != when}


def test_records_have_the_documented_columns(undisturbed, config):
    workdir, rows, _ = undisturbed
    assert len(rows) == 4
    frame = load_records(workdir)
    assert {"run_id", "transform", "epoch", "is.zero_error", "is.diverged"} <= set(frame.columns)
    assert {m.name for m in columns.MEASURES} | set(columns.BOUNDS) <= set(frame.columns)
    assert {f"meta.{name}.seconds" for name in ("train", *MEASURED)} <= set(frame.columns)
    assert {f"hp.{name}" for name in plan_runs(config)[0].hp} <= set(frame.columns)
    kinds = {name.split(".")[0] for name in frame.columns if "." in name}
    assert kinds == {"hp", "measure", "is", "meta"}
    for path in frame.filter(like="meta.arrays.").stack():
        assert (workdir / path).exists()
    assert [(r["hp.attack_size"], r["hp.sample"]) for r in rows] == [
        (0, 0),
        (0, 1),
        (40, 0),
        (40, 1),
    ]


def test_rows_agree_with_the_arrays_and_with_themselves(undisturbed, config):
    workdir, rows, _ = undisturbed
    for run, row in zip(plan_runs(config), rows, strict=True):
        arrays = Store(workdir).arrays(run.training)
        assert arrays["errors"].shape == (row["epoch"] + 1,) == arrays["loss"].shape
        assert row["is.zero_error"] == (arrays["errors"][-1] == 0)
        assert (arrays["errors"][:-1] > 0).all()  # stopped at the first epoch without error
        assert row["measure.epochs.zero_error"] == (row["epoch"] if row["is.zero_error"] else None)
        assert row["measure.loss.train_and_attack"] == float(arrays["loss"][-1])
        assert row["measure.error.second_test"] * 100 == pytest.approx(
            round(row["measure.error.second_test"] * 100)
        )
        assert row["measure.sharpness.best"] > 0
        assert row["measure.log_volume.heaviside"] < 0
        for link in ("heaviside", "probit"):
            name = f"measure.log_volume.{link}"
            spread = abs(row[f"{name}.estimate"] - row[f"{name}.corrected"])
            assert spread < 5 * row[f"{name}.estimate.se"] + 0.05
            assert row[f"is.certified.{link}"]
        assert row["measure.kernel.condition_number"] > 1
        assert row["measure.bound.random_split"] > 0
    clean = [row for row in rows if row["hp.attack_size"] == 0]
    assert all(row["is.zero_error"] for row in clean)  # forty digits are fitted in 60 epochs


def test_progress_counts_up_to_all_units(undisturbed):
    *_, calls = undisturbed
    done = [amount for amount, _, _ in calls]
    assert {total for _, total, _ in calls} == {UNITS}
    assert (done[0], done[-1]) == (0, UNITS)
    assert done == sorted(done)


def test_the_same_call_again_writes_no_unit_and_returns_equal_rows(copied, undisturbed, config):
    before = units(copied)
    calls = []
    rows = run_attack_sweep(config, copied, progress=lambda *call: calls.append(call))
    assert rows == undisturbed[1]
    assert units(copied) == before
    assert calls == [(UNITS, UNITS, "draw 0")]


def test_interrupted_at_many_points_it_ends_with_the_same_bits(undisturbed, config, tmp_path):
    class Stop:
        """Interrupts at the n-th call, wherever that falls."""

        def __init__(self, calls):
            self.left = calls

        def __call__(self, done, total, text):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    seen = set()
    for calls in (1, 2, 4, 6, 7, 3, 5, 4, 6, 5):
        before = set(units(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            run_attack_sweep(config, tmp_path, progress=Stop(calls))
        assert before <= set(units(tmp_path))
        seen.add(len(units(tmp_path)))
        if (tmp_path / "records.jsonl").read_text():
            reached = bits(load_records(tmp_path).astype(object).to_dict("records"))
            assert reached.keys() <= bits(undisturbed[1]).keys()
    assert len(seen) >= 5  # it was interrupted at different states of the work
    rows = run_attack_sweep(config, tmp_path)
    assert bits(rows) == bits(undisturbed[1])
    assert set(units(tmp_path)) == set(units(undisturbed[0]))


def test_an_error_in_a_measure_keeps_what_was_finished(copied, undisturbed, config, monkeypatch):
    shutil.rmtree(copied / "units" / "hessian")

    def fail(problem, trained, key, settings):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setitem(MEASURES, "hessian", MEASURES["hessian"]._replace(function=fail))
        with pytest.raises(RuntimeError, match="out of memory"):
            run_attack_sweep(config, copied)
    frame = load_records(copied)
    assert len(frame) == 4
    assert bits(frame.to_dict("records")).keys() == bits(undisturbed[1]).keys()
    assert frame["measure.hessian.trace"].notna().all()  # of the run before: nothing is lost
    assert bits(run_attack_sweep(config, copied)) == bits(undisturbed[1])


def test_a_measure_whose_units_are_gone_is_measured_again_alone(copied, undisturbed, config):
    before = units(copied)
    shutil.rmtree(copied / "units" / "sharpness")
    rows = run_attack_sweep(config, copied)
    assert {stage for stage, _ in written(before, units(copied))} == {"sharpness"}
    assert units(copied).keys() == before.keys()
    assert bits(rows) == bits(undisturbed[1])


def test_one_sample_more_keeps_the_others_bit_for_bit(copied, undisturbed, config):
    before = units(copied)
    more = copy.deepcopy(config)
    more["sweep"]["samples"] = 3
    rows = bits(run_attack_sweep(more, copied))
    assert len(rows) == 6
    assert bits(undisturbed[1]).items() <= rows.items()
    assert all(units(copied)[unit] == when for unit, when in before.items())


@pytest.mark.parametrize("index", [0, 3])
def test_a_training_that_is_gone_is_redone_alone_with_the_same_bits(
    copied, undisturbed, config, index
):
    """Its peers in the ensemble were other runs; now they are copies of itself."""
    run = plan_runs(config)[index]
    path = Store(copied).path(run.training)
    kept = path.with_suffix(".npz").read_bytes()
    before = units(copied)
    path.unlink()
    path.with_suffix(".npz").unlink()
    rows = run_attack_sweep(config, copied)
    names = {path.name, path.with_suffix(".npz").name}
    redone = {name for stage, name in written(before, units(copied)) if stage == "train"}
    assert redone == names
    assert path.with_suffix(".npz").read_bytes() == kept
    assert bits(rows) == bits(undisturbed[1])


def test_members_batched_into_one_operation_resume_with_the_same_bits(config, tmp_path):
    batched = copy.deepcopy(config)
    batched["hp"]["train"]["vmap_size"] = 2
    batched["measures"], batched["ensemble"] = {}, 4
    whole = run_attack_sweep(batched, tmp_path)
    for run in plan_runs(batched)[1:3]:
        Store(tmp_path).path(run.training).unlink()
    assert bits(run_attack_sweep(batched, tmp_path)) == bits(whole)
    with pytest.raises(ValueError, match="a multiple"):
        run_attack_sweep({**batched, "ensemble": 3}, tmp_path)


def test_a_diverged_network_is_recorded_and_not_measured(config, tmp_path):
    wild = copy.deepcopy(config)
    wild["hp"]["train"]["learning_rate"] = 1e30
    wild["sweep"].update(attack_sizes=(0,), samples=1)
    wild["measures"] = {name: config["measures"][name] for name in ("log_volume", "sharpness")}
    (row,) = run_attack_sweep(wild, tmp_path)
    assert row["is.diverged"]
    assert not row["is.zero_error"]
    assert row["measure.loss.train_and_attack"] is None
    assert not [name for name in row if name.startswith(("measure.log_volume", "measure.sharp"))]
    (run,) = plan_runs(wild)
    for name, measure in chosen_measures(wild).items():
        seconds = Store(tmp_path).row(measure.unit(*run.network))
        assert seconds.keys() == {f"meta.{name}.seconds"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_volume": {"on": True, "links": ("heavyside",)}}, "Did you mean 'heaviside'"),
        ({"log_volume": {"on": True, "estimator": "ep_correct"}}, "Did you mean 'ep_corrected'"),
        ({"sharpness": {"on": True, "epsilon": 1e-4}}, "measures.sharpness: got no method"),
        ({"baselines": {"on": True, "k": 1}}, "measures.baselines: got 'k'"),
        ({"sharpness": {"on": True, "epsilon": -1.0, "method": "best"}}, "epsilon"),
        ({"sharpness": {"on": True, "epsilon": 1e-4, "method": "bset"}}, "Did you mean 'best'"),
        ({"hessian": {"on": True, "k": 0}}, r"k: got 0"),
    ],
)
def test_settings_of_a_measure_that_cannot_be_fail_before_any_training(
    config, tmp_path, change, message
):
    bad = copy.deepcopy(config)
    bad["measures"] = change
    bad["sweep"].update(attack_sizes=(0,), samples=1)
    with pytest.raises(ValueError, match=message):
        run_attack_sweep(bad, tmp_path)
    assert not list(tmp_path.glob("units/train/*"))


def test_an_ensemble_of_none_is_an_error_by_name(config, tmp_path):
    with pytest.raises(ValueError, match="ensemble: got 0"):
        run_attack_sweep({**copy.deepcopy(config), "ensemble": 0}, tmp_path / "new")
    assert not (tmp_path / "new").exists()
