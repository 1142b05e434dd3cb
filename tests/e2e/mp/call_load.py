"""Many calls a second, for as long as a test lasts, through everything that it does meanwhile."""

import itertools
import os
import threading
import time

from .proxy import Closed, ProxyClient

MEDIA = "audio:127.0.0.1:%d:sendrecv:ice=no"


class CallLoad:
    """Calls without media: each is offered, answered and removed, or left to expire.

    Afterwards: answered, removed and left are sets of call-ids; refused and unanswered count
    requests. A worker whose connection ends makes a new one, as a SIP proxy's worker does.
    """

    def __init__(self, socket_path, rate, workers=8, left_share=10):
        """left_share: one call in so many is never removed."""
        self.socket_path = socket_path
        self.answered, self.removed, self.left = set(), set(), set()
        self.refused = self.unanswered = 0
        self._rate = rate
        self._left_share = left_share
        self._numbers = itertools.count(1)
        self._prefix = "load-%d-%x" % (os.getpid(), time.monotonic_ns())
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """End it, behind the calls that are being made."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a worker of the load hangs"
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def _work(self):
        client = None
        while True:
            with self._lock:
                number = next(self._numbers)
            due = self._began + number / self._rate
            if self._stop.wait(max(due - time.monotonic(), 0)):
                break
            try:
                client = client or ProxyClient(self.socket_path)
                self._call(client, number)
            except (OSError, Closed, AssertionError):
                # Gone, or silent: the call is given up, as the module does.
                with self._lock:
                    self.unanswered += 1
                if client:
                    client.close()
                client = None
        if client:
            client.close()

    def _call(self, client, number):
        call_id = "%s-%d@example.com" % (self._prefix, number)
        tags = "f%d" % number, "t%d" % number
        offer = client.update("request", call_id, tags[0], media=MEDIA % 5000,
                              dialog_id="%d:%d" % (number % 4096, number))
        if not offer.ok:
            self._count_refused()
            return
        answer = client.update("reply", call_id, *tags, media=MEDIA % 6000,
                               dialog_id="%d:%d" % (number % 4096, number))
        if not answer.ok:
            self._count_refused()
            return
        with self._lock:
            self.answered.add(call_id)
        if number % self._left_share == 0:
            with self._lock:
                self.left.add(call_id)
        elif client.remove(call_id, *tags) == "removed":
            with self._lock:
                self.removed.add(call_id)
        else:
            self._count_refused()

    def _count_refused(self):
        with self._lock:
            self.refused += 1
