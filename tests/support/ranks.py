"""Ranks without MPI: each is a thread, and they take turns, so that only one of them computes at a time."""

import threading

import numpy as np


class InTurn:
    """The communicator of one of R threads, with the methods of mpi4py's that minigan calls."""

    def __init__(self, rank, size, shared):
        self.rank, self.size, self._shared = rank, size, shared

    def _exchange(self, mine):
        """The contributions of all ranks, in their order."""
        slots, barrier, turn = self._shared
        slots[self.rank] = mine
        turn.release()
        try:
            barrier.wait()
            found = list(slots)
            barrier.wait()  # now the slots may be filled again
        finally:
            turn.acquire()
        return found

    def Allreduce(self, mine, total):
        total[...] = sum(self._exchange(mine.copy()))

    def Allgather(self, mine, arrays):
        arrays[...] = np.stack(self._exchange(mine.copy()))

    def bcast(self, value):
        return self._exchange(value)[0]


def in_turn(size, work):
    """[work(communicator) of each rank]; raises the exception of the first rank that fails."""
    shared, results, errors = ([None] * size, threading.Barrier(size), threading.Lock()), [None] * size, {}

    def run(rank):
        with shared[2]:
            try:
                results[rank] = work(InTurn(rank, size, shared))
            except BaseException as error:
                errors[rank] = error
                shared[1].abort()  # the others need not wait for it

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broken = [error for error in errors.values() if not isinstance(error, threading.BrokenBarrierError)]
    if errors:
        raise (broken or list(errors.values()))[0]
    return results
