import re

from flatvol_jax.runtime.progress import progress_bar


def bars(err: str) -> list[str]:
    """The last state of each bar."""
    return [line.split("\r")[-1] for line in err.strip().split("\n")]


def test_a_new_stage_has_a_bar_of_its_own(capsys):
    with progress_bar("chunk") as progress:
        for done in range(4):
            progress(done, 3, "sampling")
        for done in range(3):
            progress(done, 2, "widths")
        progress(0, 2, "minima")
        progress(1.5, 2, "minima")
    shown = [
        re.search(r"(\w+): .* (\d)/(\d) ", bar).groups() for bar in bars(capsys.readouterr().err)
    ]
    assert shown == [("sampling", "3", "3"), ("widths", "2", "2"), ("minima", "1", "2")]


def test_what_an_earlier_run_did_is_no_speed(capsys):
    with progress_bar() as progress:
        progress(90, 100, "again")
    assert "90/100 [00:00<?, ?unit/s]" in bars(capsys.readouterr().err)[-1]


def test_no_call_no_bar(capsys):
    with progress_bar():
        assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == ""
