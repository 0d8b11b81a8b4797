"""Ctrl-C, SIGTERM and SIGHUP: a run finishes its step and saves; other commands delete half-written files."""

import signal
import threading
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A signal has arrived. signal: its number."""

    def __init__(self, number):
        super().__init__(f'stopped by {signal.Signals(number).name}')
        self.signal = number


class Stopped(Interrupted):
    """A signal has ended a run after a whole step, and the run is saved. advice: how to go on."""

    def __init__(self, number, advice):
        super().__init__(number)
        self.args = f'{self}; to go on: {advice}',


@contextmanager
def signals_received():
    """Within, a signal is added to the list and does not end the program. The same one again has its usual effect."""
    received = []

    def receive(number, former):
        received.append(number)
        signal.signal(number, former)

    with _handling(receive):
        yield received


@contextmanager
def signals_raised():
    """Within, a signal raises Interrupted, so that half-written files are deleted before the program ends."""
    def interrupt(number, former):
        raise Interrupted(number)

    with _handling(interrupt):
        yield


@contextmanager
def _handling(handle):
    """Within, each signal calls handle(number, former handler), if this is the main thread: no other may set handlers.

    Signals that are ignored stay ignored, as nohup asks.
    """
    former = {}
    if threading.current_thread() is threading.main_thread():
        former = {number: handler for number in SIGNALS
                  if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)}
    try:
        for number, handler in former.items():
            signal.signal(number, lambda number, frame, handler=handler: handle(number, handler))
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
