import os
import signal

import pytest

from flatvol_jax.runtime.preemption import Stopped, safe_point, stop_asked, stop_on


def test_a_signal_asks_and_the_next_safe_point_stops():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on():
        safe_point()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_asked()
        with pytest.raises(Stopped, match="on disk"):
            safe_point()
    assert signal.getsignal(signal.SIGTERM) is before


def test_afterwards_no_stop_is_asked_for():
    with stop_on():
        os.kill(os.getpid(), signal.SIGTERM)
    assert not stop_asked()
    safe_point()


def test_a_second_signal_does_what_it_always_did():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("second"))
    try:
        with stop_on():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not seen
            os.kill(os.getpid(), signal.SIGTERM)
            assert seen == ["second"]
    finally:
        signal.signal(signal.SIGTERM, before)
