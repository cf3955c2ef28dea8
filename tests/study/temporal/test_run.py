"""The temporal study: what stays at the event, resuming, and that no function is computed twice."""

import copy
import itertools
import json
import shutil

import numpy as np
import pytest

import flatvol_jax as fv
from configs.temporal import LOSSES, VARIANTS, get_config
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.study.engine.store import Store
from flatvol_jax.study.measures.problem import make_problem
from flatvol_jax.study.measures.study_config import study_config
from flatvol_jax.study.measures.trained import batch_loss
from flatvol_jax.study.temporal import (
    measures as temporal_measures,
)
from flatvol_jax.study.temporal import (
    segments as temporal_segments,
)
from flatvol_jax.study.temporal.measures import chosen_measures
from flatvol_jax.study.temporal.plan import (
    NONE,
    Schedule,
    Segment,
    make_schedule,
    temporal_runs,
)
from flatvol_jax.study.temporal.run import run_temporal

ALPHAS = (4.0, 5.9, 1 / 5.9)


def small():
    config = get_config("smoke")
    config.hp.data.update(train_size=24, test_size=16, second_test_size=40)
    config.hp.model.width = (6, 5)
    config.sweep.samples = 2
    config.trajectory.update(segment=6, every=2, dense=2)
    config.event.update(after=5, epochs=9, alphas=ALPHAS)
    config.measures.sharpness.update(epsilons=(1e-4, 1e-3), batch_size=2, every=1)
    config.measures.hessian.update(on=True, k=2, every=12)
    config.measures.sgd_sharpness.update(batch_size=8, epochs=3, every=4)
    return config.to_dict()


def values(rows):
    return [{name: v for name, v in row.items() if not name.endswith(".seconds")} for row in rows]


def of(rows, **wanted):
    return [row for row in rows if all(row.get(name) == v for name, v in wanted.items())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of a whole study, and how often each part of it was computed."""
    workdir, counts = tmp_path_factory.mktemp("whole"), {"volume": [], "epochs": []}
    log_volume, advance = temporal_measures.log_volume, temporal_segments.advance_trajectory
    with pytest.MonkeyPatch.context() as patch:

        def counted(kernel, labels, link, **options):
            counts["volume"].append((link, labels.tobytes(), options["start"]))
            return log_volume(kernel, labels, link, **options)

        def advanced(keys, spec, x, y, settings, state, epochs):
            counts["epochs"].append((int(state.epoch[0]), epochs))
            return advance(keys, spec, x, y, settings, state, epochs)

        patch.setattr(temporal_measures, "log_volume", counted)
        patch.setattr(temporal_segments, "advance_trajectory", advanced)
        rows = run_temporal(small(), workdir)
    return workdir, rows, counts


def events(rows):
    """The row before the event of each network, and those right after."""
    for before in of(rows, **{"meta.event": "before"}):
        yield before, of(rows, **{"meta.event": "after", "run_id": before["run_id"]})


def test_scaling_keeps_function_volume_and_loss(whole):
    _, rows, _ = whole
    assert len(list(events(rows))) == 2
    for before, after in events(rows):
        assert [row["transform.alpha"] for row in after] == list(ALPHAS)
        for row in after:
            assert row["is.function_unchanged"]
            assert row["measure.function.changed"] == row["measure.function.differs"] == 0
            assert row["measure.output.largest_change"] < row["measure.output.least"]
            for link in ("heaviside", "probit"):
                name = f"measure.log_volume.{link}"
                assert row[name] == before[name]
            for name in ("measure.error.train", "measure.error.test"):
                assert row[name] == before[name]
            assert row["measure.loss.train"] == pytest.approx(
                before["measure.loss.train"], rel=1e-5
            )
            assert row["measure.sharpness.best"] != before["measure.sharpness.best"]


def test_a_power_of_two_keeps_every_bit_of_the_outputs(whole):
    for before, after in events(whole[1]):
        assert [row["is.output_identical"] for row in after] == [True, False, False]
        exact = after[0]
        for name in ("measure.loss.train", "measure.output.least", "measure.error.second_test"):
            assert exact[name] == before[name]


def test_each_branch_has_its_epochs_and_the_base_is_trained_once(whole):
    _, rows, counts = whole
    for before, _ in events(rows):
        zero, event = before["measure.epochs.zero_error"], before["epoch"]
        assert event == zero + 5
        run = of(rows, run_id=before["run_id"])
        names = ["none", "layer 1, alpha 4", "layer 1, alpha 5.9", "layer 1, alpha 0.169492"]
        assert list(dict.fromkeys(row["transform"] for row in run)) == names
        keys = [(row["transform"], row["epoch"]) for row in run]
        assert len(set(keys)) == len(keys)
        for name in names:
            epochs = [e for n, e in keys if n == name and e >= event]
            wanted = [
                e for e in range(event, event + 10) if e <= event + 2 or not e % 2 or e == event + 9
            ]
            assert epochs == wanted
        assert [e for n, e in keys if n == "none" and e < event] == sorted(
            {*range(0, event, 2), zero}
        )
    starts = [start for start, _ in counts["epochs"]]
    assert starts.count(0) == 2  # one base a network
    for before, _ in events(rows):
        assert starts.count(before["epoch"]) >= 4  # four branches


def test_zero_error_is_the_first_epoch_without_error(whole):
    for before, _ in events(whole[1]):
        base = of(whole[1], run_id=before["run_id"], transform="none")
        first = next(row["epoch"] for row in base if row["measure.error.train"] == 0)
        assert first == before["measure.epochs.zero_error"]
        assert all(row["overtrain"] == row["epoch"] - first for row in base if row["epoch"] > first)


def test_no_function_is_computed_twice(whole):
    """Over epochs, branches and the networks of a draw."""
    _, rows, counts = whole
    computed = [(link, function) for link, function, _ in counts["volume"]]
    assert len(computed) == len(set(computed))
    assert len(computed) < 2 * len(rows)


def test_a_function_starts_from_the_one_before_and_ends_as_from_anywhere(whole):
    workdir, rows, counts = whole
    problem = make_problem(small(), 0, workdir / "cache")
    starts = {array.mean.tobytes() for _, _, array in counts["volume"]}
    assert len(starts) > 2
    found = {}
    for link, function, start in counts["volume"]:
        labels = np.frombuffer(function, np.int64)
        cold = fv.log_volume(problem.kernel, labels, link)
        warm = fv.log_volume(problem.kernel, labels, link, start=start)
        assert abs(cold.log_volume - warm.log_volume) <= 100 * 1e-10
        found.setdefault(link, set()).add(float(warm.log_volume))
    for link, volumes in found.items():
        assert {row[f"measure.log_volume.{link}"] for row in rows} == volumes


def test_labels_that_changed_are_counted_from_row_to_row(whole):
    for before, _ in events(whole[1]):
        base = of(whole[1], run_id=before["run_id"], transform="none")
        assert base[0]["measure.function.changed"] is None
        assert base[0]["measure.function.differs"] is None
        assert any(row["measure.function.changed"] for row in base[1:])
        for one, other in itertools.pairwise(base):
            if other["measure.function.changed"] == 0:
                volume = "measure.log_volume.heaviside"
                assert one[volume] == other[volume]


def test_sharpness_is_that_of_the_public_call(whole):
    workdir, rows, _ = whole
    problem = make_problem(small(), 0, workdir / "cache")
    run = temporal_runs(small())[0]
    keys = study_config(small()).run_key("train", run)[None]
    settings = fv.training.TrainSettings(**small()["hp"]["train"])
    data = (problem.spec, problem.train_x, problem.train_y, settings)
    state = fv.training.begin_trajectory(keys, *data)
    _, epochs = fv.training.advance_trajectory(keys, *data, state, 4)
    params = [
        {
            name: {k: leaf[0, epoch] for k, leaf in layer.items()}
            for name, layer in epochs.params.items()
        }
        for epoch in (1, 3)
    ]
    inputs = np.concatenate([problem.train_x, problem.test_x])
    early, late = (np.asarray(problem.spec.apply(network, inputs)) > 0 for network in params)
    (row,) = of(rows, run_id=run.run_id, transform="none", epoch=4)
    assert row["measure.function.changed"] == np.sum(early != late)
    loss = temporal_measures.train_loss(problem, {})
    for epoch, network in zip((2, 4), params, strict=True):
        (row,) = of(rows, run_id=run.run_id, transform="none", epoch=epoch)
        for suffix, epsilon in (("", 1e-4), (".0.001", 1e-3)):
            wanted = fv.sharpness(loss, network, epsilon, method="sign")
            assert row[f"measure.sharpness.best{suffix}"] == pytest.approx(wanted.value, rel=1e-8)
        assert row["measure.loss.train"] == pytest.approx(wanted.loss, rel=1e-5)


def test_the_hessian_is_measured_at_its_own_stride(whole):
    name = "measure.hessian.spectral_norm"
    measured = [row for row in whole[1] if row.get(name) is not None]
    assert 0 < len(measured) < len(whole[1])
    assert all(row[name] > 0 for row in measured)
    for before, after in events(whole[1]):
        assert all(row[name] != before[name] for row in after)


def test_the_ascent_is_that_of_the_public_call_at_its_own_stride(whole):
    """At every fourth epoch, zero error, the event and the end, not right after the event."""
    workdir, rows, _ = whole
    name, config = "measure.sharpness.sgd", small()
    problem = make_problem(config, 0, workdir / "cache")
    for before, _ in events(rows):
        zero, event = before["measure.epochs.zero_error"], before["epoch"]
        for branch in ("none", "layer 1, alpha 4"):
            run = of(rows, run_id=before["run_id"], transform=branch)
            found = [row["epoch"] for row in run if row.get(name) is not None]
            marked = (zero, event, event + 9)
            assert found == [r["epoch"] for r in run if not r["epoch"] % 4 or r["epoch"] in marked]
    run = temporal_runs(config)[0]
    segment = Segment(run, NONE, None, 0, 6, None)
    segments = temporal_segments.Segments(Store(workdir), study_config(config), problem, 6)
    networks = segments.networks(segment)
    key = named_key(study_config(config).run_key("measure", run), "sgd_sharpness")
    settings = config["measures"]["sgd_sharpness"]
    for epoch in (0, 4):
        (row,) = of(rows, run_id=run.run_id, transform="none", epoch=epoch)
        wanted = fv.sgd_sharpness(
            key,
            batch_loss(problem, {}),
            {n: {k: leaf[epoch] for k, leaf in layer.items()} for n, layer in networks.items()},
            (problem.train_x, problem.train_y),
            1e-4,
            batch_size=8,
            learning_rate=1e-3,
            epochs=3,
            reading="full",
        )
        assert row[name] == pytest.approx(wanted.value, rel=1e-8)
        assert row[f"{name}.full_batch"] == pytest.approx(wanted.full_batch_value, rel=1e-8)
        arrays = np.load(workdir / row["meta.arrays.sgd_sharpness"])
        history = arrays[f"{name}.history"][row["meta.arrays.sgd_sharpness.row"]]
        np.testing.assert_allclose(history, wanted.history, rtol=1e-10)
    assert (settings["learning_rate"], settings["reading"]) == (1e-3, "full")


def test_the_same_command_does_nothing_again(whole, monkeypatch):
    workdir, rows, _ = whole

    def refuse(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(temporal_segments, "advance_trajectory", refuse)
    monkeypatch.setattr(temporal_measures, "log_volume", refuse)
    for name in ("sharpness_arrays", "single_arrays"):
        monkeypatch.setattr(temporal_measures, name, refuse)
    assert run_temporal(small(), workdir) == rows
    lines = (workdir / "records.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_an_interrupted_study_ends_with_the_same_rows(whole, tmp_path):
    calls, stops = 0, {3, 9, 20, 40, 55}

    def interrupt(done, total, text):
        nonlocal calls
        calls += 1
        if calls in stops:
            raise KeyboardInterrupt

    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            run_temporal(small(), tmp_path, progress=interrupt)
    rows = run_temporal(small(), tmp_path, progress=interrupt)
    assert values(rows) == values(whole[1])


def test_more_branches_train_the_base_not_again(whole, monkeypatch):
    workdir, rows, _ = whole
    config, started = small(), []
    config["event"]["alphas"] = (*ALPHAS, 2.0)
    advance = temporal_segments.advance_trajectory

    def advanced(keys, spec, x, y, settings, state, epochs):
        started.append(int(state.epoch[0]))
        return advance(keys, spec, x, y, settings, state, epochs)

    monkeypatch.setattr(temporal_segments, "advance_trajectory", advanced)
    more = run_temporal(config, workdir)
    first = min(row["measure.epochs.event"] for row in of(more, **{"meta.event": "before"}))
    assert min(started) >= first
    added = [row for row in values(more) if row["transform"] == "layer 1, alpha 2"]
    assert [row for row in values(more) if row not in added] == values(rows)


def test_networks_that_are_not_the_stored_ones_are_not_measured(whole, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(whole[0], workdir)
    config = small()
    run = temporal_runs(config)[0]
    unit = Segment(run, NONE, None, 0, 6, None).unit
    arrays = Store(workdir).arrays(unit)
    moved = {n: array + 1 if n.startswith("end.params") else array for n, array in arrays.items()}
    Store(workdir).write(unit, Store(workdir).row(unit), moved)
    config["measures"]["sharpness"]["epsilons"] = (1e-5,)
    with pytest.raises(ValueError, match="epochs 0 to 6 were trained again"):
        run_temporal(config, workdir)


def test_without_zero_error_there_is_no_event(tmp_path):
    config = small()
    config["sweep"]["samples"] = 1
    config["hp"]["train"]["max_epochs"] = 2
    config["measures"] = {"log_volume": config["measures"]["log_volume"]}
    rows = run_temporal(config, tmp_path)
    assert [row["epoch"] for row in rows] == [0, 2]
    assert all(row["measure.epochs.event"] is None for row in rows)
    assert not any(row["is.zero_error"] for row in rows)


def test_a_branch_that_diverges_ends_there(tmp_path):
    config = small()
    config["sweep"]["samples"] = 1
    config["event"].update(alphas=(1e18,), unscaled=False)
    config["measures"] = {"log_volume": config["measures"]["log_volume"]}
    rows = run_temporal(config, tmp_path)
    branch = [row for row in rows if row["transform"] != "none"]
    assert [row["is.diverged"] for row in branch] == [False] * (len(branch) - 1) + [True]
    assert "measure.log_volume.heaviside" not in branch[-1]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_one_to_start_from(variant, loss):
    config = get_config(f"{variant},{loss}").to_dict()
    assert config["hp"]["train"]["loss"] == loss
    spec = fv.FCN(config["hp"]["model"]["width"])
    schedule = make_schedule(config, spec)
    assert schedule.branches
    assert temporal_runs(config)
    assert "log_volume" in chosen_measures(config)


def test_variants_have_folders_of_their_own_and_others_are_refused():
    names = {get_config(f"{v},{loss}").name for v in VARIANTS for loss in LOSSES}
    assert len(names) == len(VARIANTS) * len(LOSSES)
    assert get_config("S5").to_json() == get_config("S5,mean").to_json()
    with pytest.raises(ValueError, match="variant: got 'fig6'"):
        get_config("fig6")


def test_the_event_and_what_follows_have_rows_beside_the_stride():
    schedule = Schedule(6, 10, 3, 5, 9, ())
    epochs = [e for e in range(27) if schedule.measured(e, 12, 17)]
    assert epochs == [0, 10, 12, 17, 18, 19, 20, 26]


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("event", {"alphas": (0.0,)}, "event.alphas: got 0.0"),
        ("event", {"layers": (3,)}, "layer: got 3"),
        ("event", {"alphas": (), "unscaled": False}, "event: got 0 branches"),
        ("event", {"alphas": (2.0, 2.0)}, "2 of them different"),
        ("event", {"after": 0}, "event.after: got 0"),
        ("trajectory", {"segment": 0}, "trajectory.segment: got 0"),
        ("sweep", {"attack_sizes": (0, 5)}, "sweep.attack_sizes"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(section, changes, message, tmp_path):
    config = copy.deepcopy(small())
    config[section].update(changes)
    with pytest.raises(ValueError, match=message):
        run_temporal(config, tmp_path)


def test_measures_that_do_not_fit_are_refused(tmp_path):
    config = small()
    config["measures"]["sharpness"]["method"] = "sing"
    with pytest.raises(ValueError, match="Did you mean 'sign'"):
        run_temporal(config, tmp_path)
    config = small()
    config["measures"]["sgd_sharpness"]["batch_size"] = 25
    with pytest.raises(ValueError, match="sgd_sharpness.batch_size: got 25, wanted at most 24"):
        run_temporal(config, tmp_path)
    config = small()
    config["hp"]["train"] = {"optimizer": "entropy_sgd", "loss": "mean", "max_epochs": 5}
    with pytest.raises(ValueError, match="entropy_sgd"):
        run_temporal(config, tmp_path)


def test_the_default_is_the_papers_protocol():
    """Section 5.4, figure 5 and the authors' code: mean loss, 501 epochs beyond, W1 / 5.9 first."""
    config = get_config()
    assert config.hp.train.loss == "mean"
    assert config.hp.train.learning_rate == 0.01
    assert config.hp.data.attack_pool_size == 0
    assert (config.hp.data.train_size, config.hp.data.test_size) == (500, 100)
    assert config.event.after == 501
    assert tuple(config.event.alphas) == (1 / 5.9, 5.9)
    ascent = config.measures.sgd_sharpness
    assert (ascent.on, ascent.every) == (True, 10)
