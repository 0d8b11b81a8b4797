"""Ctrl-C and SIGTERM: finish what must be finished, then stop."""

import signal
import threading
from contextlib import contextmanager


class Stopped(KeyboardInterrupt):
    """A signal has ended a run after a whole step, and the run is saved. signal: its number; folder: the run's."""

    def __init__(self, number, folder):
        super().__init__(f'stopped by {signal.Signals(number).name}')
        self.signal, self.folder = number, folder


@contextmanager
def signals_received():
    """A list that receives SIGINT and SIGTERM in place of the program's end. A second one ends it at once."""
    received, former = [], {}

    def receive(number, frame):
        received.append(number)
        signal.signal(number, former[number])

    if threading.current_thread() is threading.main_thread():  # no other may ask for signals
        former.update({number: handler for number in (signal.SIGINT, signal.SIGTERM)
                       if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)})  # as nohup asks
    try:
        for number in former:
            signal.signal(number, receive)
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
