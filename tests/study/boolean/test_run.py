import copy
import dataclasses
import itertools
import json

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats

import flatvol_jax as fv
from configs.boolean import get_config
from flatvol_jax.sampling.packing import function_ids
from flatvol_jax.study import load_records
from flatvol_jax.study.boolean import minima as boolean_minima
from flatvol_jax.study.boolean.minima import find_minima, minima_columns
from flatvol_jax.study.boolean.run import run_boolean
from flatvol_jax.study.boolean.settings import boolean_config
from flatvol_jax.study.boolean.summary import boolean_summary, complement_test, constants_share
from flatvol_jax.study.boolean.system import make_system


def small():
    config = get_config("smoke").to_dict()
    config["hp"].update(
        bits=3, model={"name": "fcn", "width": (12, 12), "sigma_w": 1.0, "sigma_b": 0.3}
    )
    config["sampling"].update(samples=40_000, chunk_size=8192, functions=30)
    config["widths"].update(functions=10, samples=((4, 20_000), (None, 100_000)))
    config["minima"].update(functions=3, networks=2, overtrain=(0, 5))
    config["posterior"].update(train_size=4, seeds=20, optimizers=("sgd",))
    config["minima"]["measures"]["sgd_sharpness"]["batch_size"] = 8
    return config


def minima_settings(config):
    return boolean_config(config, 8).minima


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("boolean")
    run_boolean(small(), workdir)
    return workdir


@pytest.fixture(scope="module")
def frame(finished):
    return load_records(finished)


def part(frame, name):
    return frame[frame["meta.part"] == name].dropna(axis=1, how="all")


def test_every_sample_is_accounted_for(frame):
    rows = part(frame, "frequency")
    assert (rows["frequency.count"] * rows["frequency.functions"]).sum() == 40_000
    functions = part(frame, "function").drop_duplicates("function.id")
    assert len(functions) == 30
    assert functions["measure.count"].is_monotonic_decreasing


def test_volumes_of_the_theory_are_those_of_the_kernel(frame):
    functions = part(frame, "function").drop_duplicates("function.id")
    system = make_system(small())
    labels = np.array(
        [
            [1 if int(name, 16) >> i & 1 else -1 for i in range(8)]
            for name in functions["function.id"]
        ]
    )
    kernel = fv.nngp_kernel(system.spec, system.x)
    np.testing.assert_allclose(
        functions["measure.log_volume.heaviside"], fv.log_volume(kernel, labels).log_volume
    )
    infinite = part(frame, "width")
    infinite = infinite[infinite["hp.model.width"].isna()]
    z = (
        infinite["measure.log_volume.direct"].to_numpy()
        - functions["measure.log_volume.estimate"][:10].to_numpy()
    )
    z /= np.hypot(
        infinite["measure.log_volume.direct.se"],
        functions["measure.log_volume.estimate.se"][:10].to_numpy(),
    )
    assert (z**2).sum() < scipy.stats.chi2.ppf(0.9999, 10)


def test_each_width_has_a_row_a_function_and_that_of_the_sample_its_counts(frame):
    rows = part(frame, "width")
    assert sorted(rows["hp.model.width"].value_counts(dropna=False).to_dict().values()) == [10] * 3
    own = rows[rows["hp.model.width"] == 12].sort_values("function.rank")
    functions = part(frame, "function").drop_duplicates("function.id")
    np.testing.assert_array_equal(own["measure.count"], functions["measure.count"][:10])
    narrow = rows[rows["hp.model.width"] == 4]
    assert (narrow["meta.samples"] == 20_000).all()


def test_minima_stand_at_each_epoch_of_the_functions_trained_for(frame):
    functions = part(frame, "function")
    assert functions["overtrain"].value_counts().to_dict() == {0: 30, 5: 3}
    trained = functions[functions["measure.minima.tried"].notna()]
    assert len(trained) == 6
    assert (trained["measure.minima.tried"] == 2).all()
    constant = trained[trained["function.minority"] == 0].groupby("overtrain")
    assert (constant["measure.sharpness.best"].max().diff().dropna() < 0).all()


def test_what_the_optimizer_finds_stands_beside_its_posterior(frame):
    rows, summary = part(frame, "posterior"), part(frame, "posterior_summary").iloc[0]
    assert summary["meta.zero_error"] == 20
    assert rows["measure.count"].sum() <= 20
    assert (rows["target.name"] == "rank_2").all()
    assert 0 <= summary["measure.total_variation.direct"] <= 1


def test_the_same_command_does_nothing_again(finished, monkeypatch):
    before = (finished / "records.jsonl").read_text()
    monkeypatch.setattr(boolean_minima, "train_ensemble", None)
    said = []
    run_boolean(small(), finished, lambda done, total, text: said.append((done, total)))
    assert (finished / "records.jsonl").read_text() == before
    stages = [
        now for now, then in zip(said, [*said[1:], (0, None)], strict=True) if then[0] < now[0]
    ]
    assert stages == [(n, n) for n in (6, 2, 4, 1)]


def test_an_interrupted_run_ends_with_the_same_records(finished, tmp_path):
    def stop(done, total, text):
        if text.startswith("minima") and done > total - 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_boolean(small(), tmp_path, stop)
    run_boolean(small(), tmp_path)
    assert (tmp_path / "records.jsonl").read_text() == (finished / "records.jsonl").read_text()


def test_another_config_needs_another_folder(finished):
    config = small()
    config["hp"]["model"]["sigma_b"] = 0.2
    with pytest.raises(ValueError, match="another config"):
        run_boolean(config, finished)


def test_columns_are_means_over_the_minima_with_their_spread():
    sharpness = np.array([[1.0, 4.0], [3.0, np.nan], [8.0, 5.0]])
    found = {"epochs": np.array([10, 20, 60])} | dict.fromkeys(boolean_minima.COLUMNS, sharpness)
    first, second = (minima_columns(found, place) for place in (0, 1))
    assert (first["measure.minima"], second["measure.minima"]) == (3, 2)
    assert first["measure.minima.tried"] == 3
    assert (first["measure.epochs"], second["measure.epochs"]) == (30, 35)
    for column in boolean_minima.COLUMNS.values():
        assert first[column] == 4
        assert first[f"{column}.sd"] == pytest.approx(np.std([1, 3, 8], ddof=1))
        assert first[f"{column}.se"] == pytest.approx(scipy.stats.sem([1, 3, 8]))
        assert second[column] == 4.5


def test_minima_are_measured_as_by_the_public_calls(tmp_path):
    system, settings = make_system(small()), minima_settings(small())
    one = dataclasses.replace(settings, networks=1)
    function = np.where(system.x[:, 0] > 0, 1, -1)
    found = find_minima(jax.random.key(0), system, function, settings, tmp_path)
    again = find_minima(jax.random.key(0), system, function, one, tmp_path)
    for name in found:
        np.testing.assert_array_equal(found[name][:1], again[name])
    assert (found["hessian"] > 0).all()
    assert (found["sharpness"] > 0).all()


def test_a_function_that_is_not_learned_has_no_minimum(tmp_path):
    config = small()
    config["minima"]["train"]["max_epochs"] = 1
    parity = np.where(make_system(config).x.sum(axis=1) % 2, 1, -1)
    found = find_minima(
        jax.random.key(0), make_system(config), parity, minima_settings(config), tmp_path
    )
    assert (found["epochs"] == -1).all()
    row = minima_columns(found, 0)
    assert row["measure.minima"] == 0
    assert row["measure.sharpness.best"] is None


@pytest.mark.parametrize("encoding", ["01", "signs"])
def test_the_system_has_all_inputs(encoding):
    config = small()
    config["hp"]["encoding"] = encoding
    levels = {"01": (0, 1), "signs": (-1, 1)}[encoding]
    system = make_system(config)
    assert system.x.tolist() == [list(row) for row in itertools.product(levels, repeat=3)]
    assert system.notes == ()


def test_without_biases_the_zero_input_is_left_out_and_this_is_said(tmp_path):
    config = small()
    config["hp"]["model"]["sigma_b"] = 0.0
    system = make_system(config)
    assert len(system.x) == 7
    assert system.x.any(axis=1).all()
    assert "zero input" in system.notes[0]
    config["hp"]["encoding"] = "signs"
    assert len(make_system(config).x) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 1}, "hp.bits: got 1, wanted 2 to 10"),
        ({"bits": 11}, "hp.bits: got 11"),
        ({"bits": 2.5}, "hp.bits: got 2.5"),
        ({"encoding": "sign"}, "Did you mean 'signs'"),
        ({"model": {"name": "resnet"}}, "hp.model.name: got 'resnet', wanted 'fcn'"),
    ],
)
def test_a_system_that_is_none_is_refused(changes, message):
    config = small()
    config["hp"].update(changes)
    with pytest.raises(ValueError, match=message):
        make_system(config)


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("sampling", {"samples": 0}, "samples: got 0"),
        ("sampling", {"readouts": 4}, "sampling.readouts: got 4 with posterior.on"),
        ("minima", {"overtrain": (-1,)}, "minima.overtrain: got -1"),
        ("widths", {"samples": (10, 20)}, "widths.samples: got 10, wanted pairs"),
        ("posterior", {"seed": 3}, "posterior: got 'seed'.*Did you mean 'seeds'"),
        ("posterior", {"optimizers": ("adamw",)}, "posterior.optimizers: got 'adamw'"),
        (
            "minima",
            {"measures": get_config("smoke").minima.measures.to_dict()},
            "batch_size: got 16",
        ),
    ],
)
def test_a_config_that_does_not_fit_is_refused(section, changes, message, tmp_path):
    config = copy.deepcopy(small())
    config[section].update(changes)
    with pytest.raises(ValueError, match=message):
        run_boolean(config, tmp_path)


def test_summary_numbers_are_those_of_the_records(frame):
    functions = part(frame, "function").drop_duplicates("function.id")
    constants = functions[functions["function.positive"].isin([0, 8])]
    share, error = constants_share(functions, 40_000)
    assert share == constants["measure.count"].sum() / 40_000
    assert error == pytest.approx(np.sqrt(share * (1 - share) / 40_000))
    text = "\n".join(boolean_summary(frame))
    assert f"{share:.4f} ± {error:.4f}" in text
    assert "40,000 samples" in text


def test_complements_are_compared_pair_by_pair():
    f = np.array([1, -1, -1, 1, 1, 1, -1, -1])
    names = [*function_ids(np.stack([f, -f, np.ones(8)])), "00000000000000aa"]
    functions = pd.DataFrame({"function.id": names, "measure.count": [60, 40, 500, 7]})
    assert complement_test(functions, 8) == (4.0, 1)


def test_records_are_plain_json_lines(finished):
    for line in (finished / "records.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["meta.experiment"] == "boolean"
        assert row["meta.part"].startswith(("function", "frequency", "width", "posterior"))
