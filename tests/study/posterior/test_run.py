"""The posterior experiment on small networks: its rows, that it resumes, what it refuses."""

import html

import numpy as np
import pytest

from configs.posterior import get_config
from flatvol_jax.runtime.preemption import Stopped
from flatvol_jax.study import load_records
from flatvol_jax.study.posterior import parts, posterior_pictures, write_posterior_report
from flatvol_jax.study.posterior.digits import drawn_digits
from flatvol_jax.study.posterior.run import plan_pieces, run_posterior
from flatvol_jax.study.posterior.settings import posterior_config
from flatvol_jax.study.posterior.summary import first_sentence
from flatvol_jax.volume import marginal_likelihood_bound


def small():
    config = get_config("smoke")
    config.hp.data.update(train_size=12, test_size=40)
    config.hp.inputs.pool = 4
    config.hp.model.width = (8, 6)
    config.hp.train.learning_rate = 0.1
    config.posterior.sizes = (4, 12)
    config.posterior.networks = ((1, 1.0),)
    config.posterior.sampler.update(particles=8, replicates=4)
    config.posterior.guess.update(sizes=(4,), fitting=20, most=4096, batch=256)
    config.posterior.margins.update(sizes=(4,), after=(20,))
    config.posterior.others = {}
    return config


def numbers(rows):
    return [{k: v for k, v in row.items() if k[:3] in ("mea", "is.", "run")} for row in rows]


def of(rows, part):
    return [row for row in rows if row["meta.part"] == part]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return run_posterior(small().to_dict(), workdir), workdir


def test_every_piece_has_a_row_and_its_numbers_belong_together(whole):
    rows, _ = whole
    assert len(rows) == len(plan_pieces(posterior_config(small().to_dict()))) == 2 * (2 + 2 + 1 + 2)
    assert len({row["run_id"] for row in rows}) == len(rows)
    for row in of(rows, "infinite"):
        assert 0 < row["measure.accuracy"] < 1
        assert row["measure.accuracy.se"] > 0
        assert row["measure.particles"] == 32 >= row["measure.ancestors"] > 0
        bound = marginal_likelihood_bound(row["measure.log_volume"], row["hp.train_size"], 0.05)
        assert row["measure.bound"] == pytest.approx(float(bound))
    for row in of(rows, "trained"):
        assert row["is.zero_error"]
        assert row["measure.fitting"] == row["measure.networks"] == 3
    for row in of(rows, "guessed"):
        assert row["is.complete"]
        assert row["measure.fitting"] >= 20
        assert np.isfinite(row["measure.slope.margin"])
        assert row["measure.log_margin"] < 0
        share = row["measure.fitting"] / row["measure.networks"]
        assert row["measure.log_volume"] == pytest.approx(np.log(share))


def test_overtrained_networks_begin_as_the_trained_ones_and_their_margin_grows(whole):
    rows, _ = whole
    trained = [row for row in of(rows, "trained") if row["hp.train_size"] == 4]
    over = of(rows, "overtrained")
    assert [row["hp.train.after"] for row in over] == [0, 20, 0, 20]
    assert [row["measure.accuracy"] for row in over[::2]] == pytest.approx(
        [row["measure.accuracy"] for row in trained], abs=1e-9
    )
    for before, later in zip(over[::2], over[1::2], strict=True):
        assert later["measure.log_margin"] > before["measure.log_margin"]
        assert later["measure.networks"] == 3 >= later["measure.networks.matched"]


def test_a_random_network_is_right_on_s_itself():
    config = posterior_config(small().to_dict())
    digits = drawn_digits(config, 0)
    digits = digits._replace(test_x=digits.train_x, test_y=digits.train_y)
    key, spec = config.study.key("infinite"), config.spec(1)
    found = parts.infinite_columns(key, config, digits, parts.Kernels(digits), spec, 12)
    assert found["measure.accuracy"] == pytest.approx(1, abs=1e-6)


def test_the_same_command_computes_nothing_again(whole, monkeypatch):
    rows, workdir = whole
    for name in ("infinite_columns", "trained_columns", "guessed_columns", "overtrained_columns"):
        monkeypatch.setattr(parts, name, lambda *_: pytest.fail("computed again"))
    assert run_posterior(small().to_dict(), workdir) == rows


def test_an_interrupted_run_keeps_what_is_finished_and_ends_with_the_same_numbers(whole, tmp_path):
    def stop(done, *_):
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        run_posterior(small().to_dict(), tmp_path, progress=stop)
    assert len(load_records(tmp_path)) == 3
    assert numbers(run_posterior(small().to_dict(), tmp_path)) == numbers(whole[0])


def test_a_better_sampler_replaces_rows_and_other_sizes_are_added(whole, tmp_path):
    config = small()
    config.sweep.draws = 1
    config.posterior.guess.sizes = config.posterior.margins.sizes = ()
    config.posterior.sizes = (4,)
    run_posterior(config.to_dict(), tmp_path)
    config.posterior.sampler.replicates = 8
    config.posterior.sizes = (12,)
    run_posterior(config.to_dict(), tmp_path)
    assert sorted(load_records(tmp_path)["hp.train_size"]) == [4, 4, 12, 12]
    config.posterior.sizes = (4, 12)
    run_posterior(config.to_dict(), tmp_path)
    frame = load_records(tmp_path)
    assert len(frame) == 4
    assert set(frame["measure.particles"].dropna()) == {64}


def test_another_data_set_needs_another_folder(whole):
    config = small()
    config.hp.inputs.balanced = True
    with pytest.raises(ValueError, match="another config"):
        run_posterior(config.to_dict(), whole[1])


def test_the_accuracy_of_networks_and_of_their_vote():
    labels, test_y = np.array([[1, 1, -1], [1, -1, 1], [1, 1, -1]]), np.array([1, 1, 1])
    found = parts.accuracy_columns(labels, test_y, None)
    assert found["measure.accuracy"] == pytest.approx(2 / 3)
    assert found["measure.accuracy.vote"] == pytest.approx(2 / 3)
    assert found["measure.accuracy.se"] == pytest.approx(0, abs=1e-12)
    of_classes = parts.accuracy_columns(np.array([[2, 0], [2, 1], [0, 1]]), np.array([2, 1]), 3)
    assert of_classes["measure.accuracy.vote"] == 1
    none = parts.accuracy_columns(np.zeros((0, 3), int), test_y, None)
    assert none["measure.fitting"] == 0
    assert none["measure.accuracy"] is None


def test_the_page_begins_with_the_answer(whole):
    frame = load_records(whole[1])
    path = write_posterior_report(whole[1], frame, {"scale": "smoke"})
    text = html.unescape(path.read_text())
    assert text.index(first_sentence(frame)) < text.index("<figure")
    assert [picture.name for picture in posterior_pictures(frame)] == ["posterior", "margins"]
