"""Long loops over small arrays: nothing is lost, and another thread does not wait for their end."""

import threading
import time

import numpy as np

from service.model.courtesy import EVERY, courteous

SMALL = np.zeros(64, dtype=np.int32)


def test_the_same_things_in_the_same_order():
    assert list(courteous(range(100))) == list(range(100))
    assert list(courteous([])) == []


def test_a_short_loop_does_not_pause(monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    list(courteous(range(EVERY - 1)))
    assert pauses == []
    list(courteous(range(2 * EVERY)))
    assert len(pauses) == 2


def test_another_thread_gets_its_turn_in_between():
    """What a thread that wants the interpreter sees of such a loop: many of its things, not one."""
    done, seen = [], set()

    def loop():
        for number in courteous(range(2000)):
            for _ in range(20):
                np.flatnonzero(SMALL != 1)
            done.append(number)

    thread = threading.Thread(target=loop)
    thread.start()
    while thread.is_alive():
        seen.add(len(done))
        time.sleep(0.0001)
    thread.join()
    assert len(done) == 2000
    assert len(seen) > 2000 / EVERY / 2
