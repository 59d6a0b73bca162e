"""The mailbox: the newest message wins, and what it replaces is counted."""

import threading
import time

from vpr_ros.runtime.mailbox import Mailbox


def test_the_newest_wins_and_drops_are_counted():
    box = Mailbox()
    assert [box.put(i) for i in range(4)] == [False, True, True, True]
    assert box.take(0.0) == 3 and box.take(0.0) is None
    assert (box.received, box.dropped) == (4, 3)
    box.put(5)
    box.clear()
    assert box.take(0.0) is None and box.dropped == 3


def test_a_waiting_worker_gets_what_comes_and_nothing_is_lost():
    box, taken = Mailbox(), []

    def worker():
        while (item := box.take(2.0)) != "end":
            if item is not None:
                taken.append(item)
            time.sleep(0.0005)

    thread = threading.Thread(target=worker)
    thread.start()
    for i in range(300):
        box.put(i)
        time.sleep(0.0002)
    while box._item is not None:
        time.sleep(0.001)
    box.put("end")
    thread.join(5)
    assert taken == sorted(taken) and taken[-1] == 299
    assert len(taken) + box.dropped == 300
