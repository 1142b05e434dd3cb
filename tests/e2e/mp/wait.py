"""Waiting for facts. Nothing here or elsewhere sleeps for a number of seconds and hopes."""

import os
import time

# Sanitizers, valgrind and loaded machines: MP_SLOWNESS=3 makes every deadline three times
# as long. It never makes a test that passes slower.
SLOWNESS = float(os.environ.get("MP_SLOWNESS", "1"))

POLL_S = 0.005


class Deadline:
    """A point in time that a whole sequence of waits shares."""

    def __init__(self, seconds):
        self.seconds = seconds * SLOWNESS
        self._end = time.monotonic() + self.seconds

    def left(self):
        return max(0.0, self._end - time.monotonic())

    def over(self):
        return self.left() == 0.0


def wait_for(fact, deadline=5.0, what=None):
    """Call fact() until it returns something true, and return that.

    deadline: seconds, or a Deadline. what: a text, or a function that makes one, which says
    what did not happen. AssertionError after the deadline.
    """
    if not isinstance(deadline, Deadline):
        deadline = Deadline(deadline)
    while True:
        over = deadline.over()
        value = fact()
        if value:
            return value
        if over:
            text = what() if callable(what) else what or getattr(fact, "__name__", "fact")
            raise AssertionError("not within %.1f s: %s" % (deadline.seconds, text))
        time.sleep(min(POLL_S, max(deadline.left(), 0.001)))


def holds_for(fact, seconds, what=None):
    """Assert that fact() stays true for a while: the proof that nothing happens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not fact():
            raise AssertionError("did not stay so for %.1f s: %s" % (seconds, what or fact))
        time.sleep(POLL_S)
