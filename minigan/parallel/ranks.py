"""R ranks: the processes of one run, each of which has 1 / R of the rows of every minibatch."""

from zlib import crc32

import numpy as np

from minigan.backend import array_module, to_host


class Ranks:
    """What the ranks do together: all of them call the same methods in the same order.

    comm: a communicator of mpi4py, or anything with its rank, size, Allreduce, Allgather and bcast. rank: 0 to R - 1.
    size: R. Arrays on a GPU pass through the memory of the host.
    """

    def __init__(self, comm):
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self._at_work = False  # within on_first

    def sum(self, array):
        """The sum of the ranks' arrays, the same bits on all ranks."""
        mine = np.asarray(to_host(array), order='C')
        total = np.empty_like(mine)
        self.comm.Allreduce(mine, total)
        return array_module(array).asarray(total)

    def average_(self, array):
        """The mean of the ranks' arrays, in place."""
        array_module(array).divide(self.sum(array), self.size, out=array)

    def gather(self, array):
        """The ranks' arrays in the order of the ranks: (R, *shape)."""
        mine = np.asarray(to_host(array), order='C')
        arrays = np.empty((self.size, *mine.shape), mine.dtype)
        self.comm.Allgather(mine, arrays)
        return array_module(array).asarray(arrays)

    def rows(self, array):
        """The rows of all ranks, (R m, n), from those of each, (m, n)."""
        return array if self.size == 1 else self.gather(array).reshape(-1, *array.shape[1:])

    def same(self, arrays):
        """Whether the arrays have the same bits on all ranks."""
        found = self.gather(np.array([crc32(to_host(array)) for array in arrays]))
        return bool((found == found[0]).all())

    def any(self, flag):
        """Whether the flag is true on any rank."""
        return bool(self.gather(np.array(bool(flag))).any())

    def agreed(self, signals):
        """The largest of the signals that the ranks have received first, in a list; [] if none has received any."""
        first = int(self.gather(np.array(signals[0] if signals else 0)).max())
        return [first] if first else []

    def on_first(self, work):
        """What work() returns on rank 0, which alone calls it. All ranks raise the exception that it raises."""
        if self._at_work:  # on rank 0, inside such a call
            return work()
        result = error = None
        if self.rank == 0:
            self._at_work = True
            try:
                result = work()
            except Exception as raised:
                error = raised
            finally:
                self._at_work = False
        result, error = self.comm.bcast((result, error))
        if error is not None:
            raise error
        return result

    def first(self, thing):
        """The thing, with methods that work on rank 0 alone, as in on_first."""
        return OnFirst(self, thing)

    def __repr__(self):
        return f'Ranks(rank={self.rank}, size={self.size})'


class OnFirst:
    """A thing whose methods work on rank 0 alone. Its other attributes are those of each rank."""

    def __init__(self, ranks, thing):
        self._ranks, self._thing = ranks, thing

    def __getattr__(self, name):
        found = getattr(self._thing, name)
        if not callable(found):
            return found
        return lambda *arguments: self._ranks.on_first(lambda: found(*arguments))


class One:
    """The communicator of a single process."""

    rank, size = 0, 1

    def Allreduce(self, mine, total):
        """total = mine"""
        total[...] = mine

    def Allgather(self, mine, arrays):
        """arrays = [mine]"""
        arrays[0] = mine

    def bcast(self, value):
        """The value itself."""
        return value


ALONE = Ranks(One())
