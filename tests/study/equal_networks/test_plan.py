"""Cells of confounders and their seeds; what cannot be is refused before any work."""

import pytest

from configs.equal_networks import SCALES, get_config
from flatvol_jax.study.equal_networks.plan import plan_cells
from flatvol_jax.study.measures.registry import chosen_measures

VARIANTS = [f"{scale}{more}" for scale in SCALES for more in ("", ",classes10")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_complete_and_has_a_name_of_its_own(variant):
    config = get_config(variant)
    assert config.name == f"equal_networks_{variant.replace(',', '_')}"
    assert {"log_volume", "sharpness", "learning_coefficient", "baselines"} <= chosen_measures(
        config.to_dict()
    ).keys()
    cells = plan_cells(config.to_dict())
    runs = [run for cell in cells for run in cell.runs]
    assert (
        len(runs) == len({run.run_id for run in runs}) == config.sweep.draws * config.sweep.samples
    )
    outputs = 10 if "classes10" in variant else 1
    assert {cell.config.hp.model.outputs for cell in cells} == {outputs}


def test_each_seed_of_a_draw_belongs_to_one_cell_and_cells_share_evenly():
    cells = plan_cells(get_config("cpu").to_dict())
    assert len(cells) == 4
    for draw in (0, 9):
        seeds = [[run.sample for run in cell.of_draw(draw)] for cell in cells]
        assert [len(own) for own in seeds] == [25] * 4
        assert sorted(seed for own in seeds for seed in own) == list(range(100))
        # The first forty seeds, of which more is measured, are ten of each cell.
        assert [sum(seed < 40 for seed in own) for own in seeds] == [10] * 4
    for cell in cells:
        train = cell.config.hp.train
        recipe = {(run.hp["train.batch_size"], run.hp["train.learning_rate"]) for run in cell.runs}
        assert recipe == {(train.batch_size, train.learning_rate)}
        assert {run.attack_size for run in cell.runs} == {0}


def test_more_seeds_and_draws_leave_those_that_there_are():
    small, large = get_config("smoke"), get_config("smoke")
    large.sweep.update(draws=3, samples=16)
    ids = [
        {run.run_id for cell in plan_cells(c.to_dict()) for run in cell.runs}
        for c in (small, large)
    ]
    assert ids[0] < ids[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweep.attack_sizes": (0, 10), "hp.data.attack_pool_size": 10}, "wanted .0,. and none"),
        ({"sweep.overtrain": (5,)}, "overtrain"),
        ({"sweep.samples": 7}, "got 7 seeds for 4 cells"),
        ({"confounders.batch_size": ()}, "wanted different values, at least one"),
        ({"confounders.batch_size": (32, 32)}, "wanted different values"),
        ({"confounders.batch_size": (32, 101)}, "got 101, wanted at most hp.data.train_size"),
        ({"confounders.learning_rate": (0.0,)}, "confounders.learning_rate"),
        ({"confounders.width": (40,)}, "width"),
        ({"hp.train.batch_size": 32}, "hp.train.batch_size: got 32, wanted None"),
        ({"confounders": 3}, "wanted a group"),
        ({"posterior": {}}, "posterior"),
    ],
)
def test_what_cannot_be_is_named(changes, message):
    config = get_config("smoke").to_dict()
    for name, value in changes.items():
        *groups, entry = name.split(".")
        place = config
        for group in groups:
            place = place[group]
        place[entry] = value
    with pytest.raises(ValueError, match=message):
        plan_cells(config)


@pytest.mark.parametrize("variant", ["huge", "cpu,smoke", "cpu,classes10,classes10", "adam"])
def test_an_unknown_variant_is_refused(variant):
    with pytest.raises(ValueError, match="variant: got"):
        get_config(variant)
