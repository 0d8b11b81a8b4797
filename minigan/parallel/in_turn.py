"""Ranks without MPI: each is a thread, and they take turns, so that only one of them computes at a time.

    in_turn(4, lambda comm: work(Ranks(comm)))      a list: what work returns on each of 4 ranks

It gains no time. It shows on any machine what R processes would compute, apart from the order in which MPI adds.
"""

import threading
from copy import deepcopy

import numpy as np


class InTurn:
    """The communicator of one of R threads, with the methods of mpi4py's that minigan calls.

    meetings: number -> the contributions to that exchange, by rank. left: the ranks whose work has ended.
    Raises RuntimeError where MPI would wait forever: for a rank that has ended or that calls a different method.
    """

    def __init__(self, rank, size, turn, meetings, left):
        self.rank, self.size, self._turn, self._meetings, self._left, self._number = rank, size, turn, meetings, left, 0

    def Allreduce(self, mine, total):
        """total = the sum of the ranks' arrays"""
        total[...] = sum(self._exchange('Allreduce', mine.copy()))

    def Allgather(self, mine, arrays):
        """arrays = [those of the ranks]"""
        arrays[...] = np.stack(self._exchange('Allgather', mine.copy()))

    def bcast(self, value):
        """A copy of the value of rank 0."""
        found = self._exchange('bcast', deepcopy(value) if self.rank == 0 else None)[0]
        return value if self.rank == 0 else deepcopy(found)

    def _exchange(self, method, mine):
        """The contributions of all ranks, in their order. The others have their turn meanwhile."""
        number, self._number = self._number, self._number + 1
        met = self._meetings.setdefault(number, {})
        self._meetings.pop(number - 1, None)  # all have come to it
        met[self.rank] = method, mine
        self._turn.notify_all()
        self._turn.wait_for(lambda: len(met) == self.size or self._left - met.keys())
        if len(met) < self.size or {called for called, _ in met.values()} != {method}:
            raise Parted(f'rank {self.rank}: expected all of {self.size} ranks in {method}, got '
                         f'{ {rank: called for rank, (called, _) in sorted(met.items())} }')
        return [met[rank][1] for rank in range(self.size)]


class Parted(RuntimeError):
    """The ranks do not call the same methods in the same order."""


def in_turn(size, work):
    """[work(communicator) of each of `size` ranks]. Raises the exception of the first rank that raises one."""
    turn, meetings, left, results, errors = threading.Condition(), {}, set(), [None] * size, []

    def run(rank):
        with turn:
            try:
                results[rank] = work(InTurn(rank, size, turn, meetings, left))
            except BaseException as error:
                errors.append(error)
            left.add(rank)
            turn.notify_all()

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((error for error in errors if not isinstance(error, Parted)), errors[0])
    return results
