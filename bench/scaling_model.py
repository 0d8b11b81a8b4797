"""How long a step of R ranks should take: t(R, m) = A m / R + B + c(R).

A m / R   the products and all else that is done for each row: of one rank, m / R rows
B         what every rank does whatever m is: Adam, the average of theta_G, the calls from Python
c(R)      the collective calls of a step, each from the cost of a message between two ranks, latency + bytes / bandwidth

A and B are those of one process: with P parameters and dense layers, about a P and b P. The calls are counted while two
ranks train: an Allreduce of dtheta for each step of a player, and, for each batch norm, a gather in each forward pass
and a sum in each backward pass; a gather and a broadcast in the loop. MPICH computes sums of few bytes by recursive
doubling and of many by halving and doubling (Thakur, Rabenseifner & Gropp 2005); the cost is that of the cheaper.
"""

import json
from math import ceil, log2
from typing import NamedTuple

import numpy as np
from harness import RESULTS


class Link(NamedTuple):
    """What carries messages. latency: seconds of one; bandwidth: bytes/s, in each direction; start: s of a call."""

    latency: float
    bandwidth: float
    start: float = 0.0


ON_GPUS = 'NVLink, on H200s'
LINKS = {
    # 50 us: a cluster in SimGrid's examples (examples/platforms/cluster_backbone.xml)
    'Ethernet 1 Gbit/s': Link(50e-6, 1e9 / 8),
    # 20 us between applications: TCP on 10 Gbit/s (Hurwitz & Feng 2003)
    'Ethernet 25 Gbit/s': Link(20e-6, 25e9 / 8),
    # Azure's HBv3, with HDR InfiniBand: 1.2 us, 192 Gbit/s (docs.azure.cn/en-us/virtual-machines/hbv3-performance)
    'InfiniBand 200 Gbit/s': Link(1.2e-6, 192e9 / 8),
    # NCCL's own model of a tree (LL) over NVLink: 4.4 us a call and 0.52 us a message (src/graph/tuning.cc); H100:
    # 380 GB/s each way (github.com/NVIDIA/nccl/issues/1264)
    ON_GPUS: Link(0.52e-6, 380e9, 4.4e-6)}


def cost(method, size, link, R):
    """Seconds of a collective call of R ranks. size: bytes of each rank, as mpi4py is given them."""
    if R == 1:
        return 0.0
    rounds = ceil(log2(R))
    if method == 'bcast':  # of a Python object: first its length, then its bytes
        return 2 * (link.start + rounds * link.latency)
    if method == 'Allgather':
        return link.start + rounds * link.latency + (R - 1) * size / link.bandwidth
    doubling = rounds * (link.latency + size / link.bandwidth)
    halving = 2 * rounds * link.latency + 2 * (R - 1) / R * size / link.bandwidth
    return link.start + min(doubling, halving)


def exchange(calls, link, R):
    """c(R), in seconds. calls: [method, bytes, how many in a step] of one rank."""
    return sum(number * cost(method, size, link, R) for method, size, number in calls)


class Law(NamedTuple):
    """Seconds of a step of m rows in one process: A m + B."""

    A: float
    B: float

    def __call__(self, m):
        return self.A * m + self.B


def step(law, m, R, calls, link):
    """Seconds of a step of R ranks. law: of one process that computes as a rank does."""
    return law(m / R) + exchange(calls, link, R)


def fit_law(points):
    """The Law nearest to points (m, seconds), by relative errors."""
    m, seconds = np.array(points, float).T
    return Law(*map(float, _relative(np.stack([m, np.ones(len(m))], 1), seconds)))


def fit_link(points):
    """The Link nearest to points (bytes, seconds) of an Allreduce between two ranks, by relative errors.

    Between two, it is one message each way, latency + bytes / bandwidth.
    """
    size, seconds = np.array(points, float).T
    latency, per_byte = _relative(np.stack([np.ones(len(size)), size], 1), seconds)
    return Link(float(latency), float(1 / per_byte))


def _relative(terms, seconds):
    """Coefficients of the terms, by least squares of the relative errors."""
    return np.linalg.lstsq(terms / seconds[:, None], np.ones(len(seconds)), rcond=None)[0]


def least_batch(R, alone, law, calls, link):
    """The smallest batch, a multiple of R, with which R ranks are at least R / 2 times as fast as one; or None.

    That is an efficiency of 50 %, and of no less than 1 in speed. alone: the Law of an ordinary run of one process;
    law: of one that computes as a rank does.
    """
    slope = alone.A - law.A / 2
    if slope <= 0:
        return None
    return R * max(1, ceil((R / 2 * (law.B + exchange(calls, link, R)) - alone.B) / slope / R - 1e-9))


def gpu():
    """The Law of a step of the default networks, captured in a graph, on an H200, from results/h200/bench_gpu.json."""
    results = json.loads((RESULTS / 'h200' / 'bench_gpu.json').read_text())['step']['results']
    return fit_law([(r['m'], r['seconds']['minigan, graph'][0]) for r in results if r.get('network') == 'default'])
