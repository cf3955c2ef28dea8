"""The config of the posterior experiment, and the digits that it names."""

import numpy as np
import pytest

from configs.posterior import SCALES, get_config
from flatvol_jax.study.posterior.digits import alternating, drawn_digits, pooled_images
from flatvol_jax.study.posterior.run import plan_pieces
from flatvol_jax.study.posterior.settings import posterior_config

SGD = get_config("smoke").to_dict()["hp"]["train"]
VARIANTS = (*SCALES, "cpu,classes10", "smoke,classes10", "peleg_hein,3_5")


def test_every_variant_is_complete_and_has_a_folder_of_its_own():
    names = set()
    for variant in VARIANTS:
        config = get_config(variant)
        typed = posterior_config(config.to_dict())
        assert plan_pieces(typed)
        assert typed.spec(1).width == config.hp.model.width[:1]
        names.add(config.name)
    assert len(names) == len(VARIANTS)
    for variant in ("cpu,classes10", "smoke,classes10"):
        typed = posterior_config(get_config(variant).to_dict())
        assert typed.classes == 10
        assert not {"guessed", "overtrained"} & {piece.stage.name for piece in plan_pieces(typed)}


@pytest.mark.parametrize("variant", ["huge", "cpu,smoke", "cpu,3_5", "peleg_hein,classes10,3_5"])
def test_other_variants_are_refused(variant):
    with pytest.raises(ValueError, match="variant: got"):
        get_config(variant)


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("posterior.sizes", (4, 0), "posterior.sizes: got 0"),
        ("posterior.sizes", (), "posterior.sizes: got"),
        ("posterior.sizes", (65,), "at most hp.data.train_size = 64"),
        ("posterior.networks", ((2,),), "wanted pairs"),
        ("posterior.networks", ((5, 1.0),), "at most 4 hidden layers"),
        ("posterior.networks", ((2, -1.0),), "posterior.networks: got -1"),
        ("posterior.delta", 1.0, "posterior.delta"),
        ("posterior.sampler.particles", 1, "posterior.sampler.particles"),
        ("posterior.margins.sizes", (16,), "posterior.margins.sizes: got .16., wanted sizes"),
        ("posterior.margins.after", (10, 10), "wanted increasing numbers"),
        ("posterior.margins.after", (0,), "posterior.margins.after: got 0"),
        ("posterior.others", {"sgd": SGD}, "posterior.others.sgd: got the optimizer 'sgd'"),
        ("posterior.others", {"gd": SGD}, "wanted 'gd'"),
        ("hp.inputs.pool", 0, "hp.inputs.pool"),
        ("hp.model.name", "cnn", "hp.model"),
        ("sweep.attack_sizes", (0, 5), "sweep.attack_sizes"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(entry, value, said):
    config = get_config("smoke").to_dict()
    *groups, name = entry.split(".")
    place = config
    for group in groups:
        place = place[group]
    place[name] = value
    with pytest.raises(ValueError, match=said):
        posterior_config(config)


def test_pooling_keeps_the_largest_pixel_of_each_square():
    image = np.arange(36, dtype=np.float32).reshape(6, 6)
    wanted = [[14, 17], [32, 35]]  # last row and column of each 3 x 3 square
    np.testing.assert_array_equal(pooled_images(image.reshape(1, 36), 3)[0], np.ravel(wanted))
    with pytest.raises(ValueError, match="hp.inputs.pool: got 4"):
        pooled_images(image.reshape(1, 36), 4)


def test_classes_take_turns_each_in_its_own_order():
    y = np.array([1, 1, 1, -1, 1, -1])
    np.testing.assert_array_equal(alternating(y), [3, 0, 5, 1, 2, 4])


def test_each_draw_has_digits_of_its_own_and_the_number_of_draws_moves_none():
    config = get_config("smoke")
    config.hp.data.update(train_size=40, test_size=30)
    config.hp.inputs.update(pool=4, balanced=True)
    config.posterior.sizes = (4, 10)
    first, second = (drawn_digits(posterior_config(config.to_dict()), draw) for draw in (0, 1))
    assert first.train_x.shape == (40, 49)
    assert first.test_x.shape == (30, 49)
    assert abs(int(first.train_y[:10].sum())) == 0
    together = np.concatenate([np.concatenate(part[::2]) for part in (first, second)])
    assert len(np.unique(together, axis=0)) == len(together)
    config.sweep.draws = 5
    again = drawn_digits(posterior_config(config.to_dict()), 1)
    np.testing.assert_array_equal(again.train_x, second.train_x)
    config.posterior.sizes = (40,)
    with pytest.raises(ValueError, match="too few of a class"):
        drawn_digits(posterior_config(config.to_dict()), 0)
