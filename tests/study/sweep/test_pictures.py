from flatvol_jax.study.sweep.pictures import sweep_pictures


def test_pictures_that_have_no_data_are_left_out(one_draw, tmp_path):
    assert [picture.name for picture in sweep_pictures(one_draw, tmp_path)] == ["attack_sweep"]


def test_local_volumes_are_drawn_where_they_were_measured(one_draw, tmp_path):
    frame = one_draw.assign(**{"measure.learning_coefficient": 2.0 + one_draw["hp.attack_size"]})
    assert [p.name for p in sweep_pictures(frame, tmp_path)] == ["attack_sweep", "local_volume"]
