"""Is a kernel complete and correct? What `minigan kernelcheck` prints, for the package's kernels or for your own.

No GPU is needed: kernels run on the CPU (emulator.py), NVIDIA's compiler says what they take (nvrtc.py), and a roofline
says how fast a GPU could be.
"""

import inspect
import re
import sys
from contextlib import suppress
from functools import partial
from math import prod
from textwrap import fill
from types import SimpleNamespace

import numpy as np

from minigan.gpu import nvrtc
from minigan.gpu.compare import compare
from minigan.gpu.emulator import COMPILER, CompileError, HostModule
from minigan.gpu.launch import BOUNDS, RESERVED, signatures
from minigan.gpu.nvrtc import ARCHITECTURES
from minigan.gpu.roofline import GPUS, ROOM, fitting, least_time, per_element

EXPECTED = {  # part -> what a message asks for; in the order in which an author writes them
    'specification': 'a function {call} in {place}',
    'twin': 'a method {twins}.{call} in {place}',
    'kernel': 'extern "C" __global__ void {name}(...) in {place}',
    'arguments': "an entry '{name}' in {place}",
    'resources': "an entry '{name}': (registers, bytes of shared memory) in {place}",
    'traffic': "an entry '{name}': (bytes, FLOPs) in {place}",
    'gradient check': "a case in {place} that calls {name}, or a reason in {exemption}",
}
ORDERS = (0, 256), (1, 96), (2, 1024), (3, 32)  # of threads (in order, reversed, shuffled twice); threads of a block
PLACES = (*((fma, order, block, shape) for fma, orders in ((False, ORDERS), (True, ORDERS[:1]))
            for order, block in orders for shape in ((9, 33), (32, 64), (300, 2) if order else (90, 784))),
          # one element more than full blocks of 32, 96 and 256, in one column; one column more than full tiles
          *((False, order, block, shape) for order, block in ORDERS[:2] for shape in ((1537, 1), (3, 1025))))
KERNEL = re.compile(r'^extern "C".*?^}\n', re.DOTALL | re.MULTILINE)  # as the package's are written
LEAST = 3, 1  # the fewest rows and columns for which there are arguments
SIZES = (64, 512), (4096, 512)  # for which a time is printed
NO_COMPILER = 'no C++ compiler, or not Linux'
NO_NVRTC = 'no NVRTC: pip install nvidia-cuda-nvrtc-cu12'


def check(kernels, *, only=None, gpu='A100', say=partial(print, flush=True)):
    """Report all that is missing or wrong in a KernelSet, and what each kernel takes. Returns the number of problems.

    only: the name of one kernel; gpu: a name in GPUS. Raises ValueError for an unknown name, and for a kernel, a
    specification or a twin with a reserved name.
    """
    reached, problems = run_gradients(kernels)
    parts = parts_of(kernels, reached)
    for name in (name for part in ('kernel', 'specification', 'twin') for name in parts[part] if name in RESERVED):
        raise ValueError(f'{name}: a reserved name, the name of an attribute of every Launcher; choose another')
    names = [name for name in dict.fromkeys(name for part in parts.values() for name in part) if only in (None, name)]
    if not names:
        raise ValueError(f'kernel: expected one of {", ".join(parts["kernel"])}, got {only}')
    problems += missing(kernels, parts, names)
    for line in problems:
        say(line)
    if not problems:
        say(f'{", ".join(EXPECTED)}: all there. Gradient checks: {len(kernels.gradients)}, all correct.')
    say('')
    measured, more = compiled(kernels, only)
    problems += [*_compare(kernels, parts, names, say), *_weigh(kernels, measured, more, names, say)]
    say('')
    names = [name for name in names if name in parts['kernel']]
    for line in (*table(kernels, names, measured, gpu), *table_of_room(kernels, names, measured)):
        say(line)
    say(_summary(len(problems)))
    return len(problems)


def _problems(count):
    return f'{count} problem' if count == 1 else f'{count} problems'


def _summary(count):
    if count:
        return f'\nWRONG: {_problems(count)}, named above.'
    skipped = [reason for reason, there in ((NO_COMPILER, COMPILER), (NO_NVRTC, nvrtc.library())) if not there]
    unless = f' as far as it was checked ({"; ".join(skipped)})' if skipped else ''
    return f'\nComplete and correct{unless}.'


def _compare(kernels, parts, names, say):
    """Report how every case compares. Returns the names of the wrong ones."""
    ready = [name for name in names if all(name in parts[part] or kernels.why_exempt(part, name)
                                           for part in ('specification', 'twin', 'kernel', 'arguments'))]
    cases = [case for case in kernels.arguments(*LEAST, 0) if case.split(',')[0] in ready]
    if not COMPILER:
        say(f'{len(cases)} comparisons: skipped, {NO_COMPILER}')
        return []
    say(f'{"on the CPU, each kernel against its specification":54} {"got":>9} {"allowed":>9}')
    try:
        emulated(kernels)
    except CompileError as error:
        say(_named(kernels, error))
        return ['compiler']
    wrong = []
    for case in cases:
        ok, line = verdict(kernels, case)
        say(line)
        if not ok:
            wrong.append(case)
    return wrong


def _weigh(kernels, measured, lines, names, say):
    """Report what NVIDIA's compiler says about the names. Returns the lines that are problems."""
    lines = [line for line in lines if line.split(':')[0] in (*names, kernels.places['kernel'])]
    if not measured and not lines:
        say(f'\ncompiling with NVRTC: skipped, {NO_NVRTC}')
    else:
        say(f'\nNVRTC, for {", ".join(ARCHITECTURES)}: {_problems(len(lines))}')
    for line in lines:
        say(line)
    return lines


def parts_of(kernels, reached):
    """part -> the names that have it. reached: the names that gradient cases call."""
    return {
        'specification': list(kernels.specifications),
        'twin': [name for name, f in vars(kernels.twins).items() if inspect.isfunction(f) and name[0] != '_'],
        'kernel': list(signatures(kernels.code)),
        'arguments': list(dict.fromkeys(case.split(',')[0] for case in kernels.arguments(*LEAST, 0))),
        'resources': list(kernels.resources), 'traffic': list(kernels.traffic), 'gradient check': reached,
    }


def run_gradients(kernels):
    """The names of the specifications that the gradient cases call; and a line for each case that is wrong."""
    called, wrong, before = set(), [], sys.getprofile()

    def note(frame, event, _):
        if event == 'call':
            called.add(frame.f_code)

    for name, case in kernels.gradients.items():
        sys.setprofile(note)
        try:
            report = case(0)
            fault = '' if report.ok else f'wrong\n{report}'
        except Exception as error:  # an unfinished specification may raise anything
            fault = f'{type(error).__name__}: {error}'
        finally:
            sys.setprofile(before)
        if fault:
            wrong.append(f'gradient check {name}: {fault}')
    return [name for name, f in kernels.specifications.items() if inspect.unwrap(f).__code__ in called], wrong


def missing(kernels, parts, names):
    """A line for each part that a name lacks, each signature that differs, and each entry for an unknown name."""
    lines = []
    for name in names:
        if not any(name in parts[part] for part in ('specification', 'twin', 'kernel')):
            lines += [f'{name}: an entry in {kernels.places[part]}, but no specification, twin or kernel of that name'
                      for part in parts if name in parts[part]]
            continue
        for part, expected in EXPECTED.items():
            if name not in parts[part] and not kernels.why_exempt(part, name):
                lines.append(f'{name}: no {part}: expected ' + expected.format(
                    call=_call(kernels, name), twins=kernels.twins.__name__, name=name, place=kernels.places[part],
                    exemption=kernels.places['exemption']))
        if name in parts['specification'] and name in parts['twin']:
            wanted, got = _call(kernels, name), f'{name}{_signature(getattr(kernels.twins, name), skip=1)}'
            if got != wanted:
                lines.append(f'{name}: a different signature: expected a twin {wanted}, as its specification, '
                             f'got {got}')
    known = set().union(*parts.values())
    return lines + [f'{name}: an entry in {kernels.places["exemption"]}, but nothing of that name'
                    for reasons in kernels.exempt.values() for name in reasons if name not in known]


def _call(kernels, name):
    """name(x, ...), with the signature of the specification, or else of the twin, or else with dots."""
    if name in kernels.specifications:
        return f'{name}{_signature(kernels.specifications[name])}'
    twin = getattr(kernels.twins, name, None)
    return f'{name}{_signature(twin, skip=1) if twin else "(...)"}'


def _signature(function, skip=0):
    wanted = list(inspect.signature(function).parameters.values())[skip:]
    return str(inspect.Signature([parameter.replace(annotation=parameter.empty) for parameter in wanted]))


def emulated(kernels, *, fma=False):
    """The twins on the CPU. Memory that they allocate starts as NaN, so that an element left out shows; _launched: the
    kernels that have run.

    Raises CompileError with what the C++ compiler said.
    """
    twins = kernels.twins(HostModule(kernels.code, fma=fma), kernels.code)
    twins.empty = lambda x, shape, dtype: _undefined(shape, np.dtype(dtype)).view(type(x))
    twins.empty_like = lambda x: twins.empty(x, x.shape, x.dtype)
    twins._launched = set()
    twins.functions = {name: partial(_run, twins, name, kernel) for name, kernel in twins.functions.items()}
    return twins


def _undefined(shape, dtype):
    return np.full(shape, np.nan if dtype.kind == 'f' else np.iinfo(dtype).max, dtype)


class OnDevice(np.ndarray):
    """Stands in for an array on a GPU. What NumPy computes from it is of this class; what NumPy allocates is not."""

    asarray = staticmethod(lambda array: array.view(OnDevice))


def _run(twins, name, kernel, grid, block, arguments):
    """Launch a kernel. Raises TypeError where a GPU would get arrays that lie on the CPU."""
    on_device = {wanted.name: isinstance(given, OnDevice) for wanted, given in zip(twins.signatures[name], arguments)
                 if isinstance(given, np.ndarray)}
    lost = [array for array, there in on_device.items() if not there]
    if 0 < len(lost) < len(on_device):  # if all are lost, a test has passed NumPy's arrays
        raise TypeError(f'{name}: expected {lost[0]} from the arguments, self.empty or self.empty_like, got an array '
                        'of NumPy, which a GPU cannot read')
    twins._launched.add(name)
    kernel(grid, block, arguments)


def compare_case(kernels, twins, case, m, n, seed):
    """The Row that compares a twin with its specification, on the arguments of a case.

    Raises RuntimeError for a twin that does not launch its kernel, and what the emulator refuses.
    """
    name = case.split(',')[0]
    theirs, ours = (kernels.arguments(m, n, seed)[case] for _ in range(2))
    twins._launched.clear()
    row = compare(case, getattr(twins, name), kernels.specifications[name], theirs, ours, kernels.tolerance(name),
                  xp=OnDevice, settings=f'{m=} {n=} {seed=}')
    if twins.functions and not twins._launched:
        raise RuntimeError(f'the twin does not launch a kernel {name}')
    return row


def comparisons(kernels, cases):
    """Each case at awkward shapes, in several orders of threads and sizes of blocks, with and without fused
    multiply-add. Yields, for each, a function that returns the Row and must be called before the next one is asked
    for, and a text that says where."""
    built = {}
    for fma, order, block, (m, n) in PLACES:
        twins = built[fma] = built.get(fma) or emulated(kernels, fma=fma)
        twins.module.seed, twins.block = order, block
        for case in cases:
            yield (partial(compare_case, kernels, twins, case, m, n, m),
                   f'{m} x {n}, order {order}, blocks of {block}{", fused multiply-add" * fma}')


def verdict(kernels, case):
    """Whether a case is correct everywhere; and a line: its largest Row, or the first wrong one and where it is."""
    largest = None
    for row_of, where in comparisons(kernels, [case]):
        try:
            row = row_of()
        except Exception as error:  # the emulator's, or of an unfinished twin or specification
            return False, f'{case}: {type(error).__name__}: {error}, at {where}'
        if not row.ok:
            return False, f'{row} at {where}\n    {row.why}'
        largest = row if largest is None or row.error > largest.error else largest
    return True, str(largest)


def compiled(kernels, only=None):
    """architecture -> name -> (registers, shared, local bytes), by NVIDIA's compiler; and a line for each kernel that
    takes more than its entry says. Both are empty without NVRTC. only: the name of one kernel, to save time."""
    library, found, lines = nvrtc.library(), {}, []
    code = KERNEL.sub(lambda kernel: kernel[0] if only in (None, *signatures(kernel[0]))
                      else '\n' * kernel[0].count('\n'), kernels.code)
    try:
        for architecture in ARCHITECTURES if library else ():
            found[architecture] = nvrtc.resources(library, code, architecture)
    except ValueError as error:
        return {}, [f'{kernels.places["kernel"]}: {architecture}: {_named(kernels, error)}']
    for name, stated in kernels.resources.items():
        stated = (*stated, 0)[:3]
        for i, what in enumerate(('registers', 'bytes of shared memory', 'bytes of local memory')):
            got, architecture = max(((taken[name][i], chip) for chip, taken in found.items() if name in taken),
                                    default=(stated[i], ''))
            if got > stated[i] or i == 1 and got < stated[i]:
                lines.append(f'{name}: {what}: expected {"" if i == 1 else "at most "}{stated[i]}, as in '
                             f'{kernels.places["resources"]}, got {got} for {architecture}')
    return found, lines


def _named(kernels, error):
    """What a compiler said, with the name of the author's file for the one that it was given."""
    return str(error).replace('kernels.cu', kernels.places['kernel']).strip()


def table(kernels, names, measured, gpu):
    """Lines: what each kernel takes and what its roofline is; blank where it is not stated.

    measured: from compiled(); if it is empty, the entries of kernels.resources are shown.
    """
    card, heads, most = GPUS[gpu], ''.join(f'{f"us, {m} x {n}":>16}' for m, n in SIZES), threads(kernels)
    yield (f'{f"on one {gpu} at best":36}{"registers":>10}{"threads":>9}{"shared":>8}{"local":>7}{"bytes":>7}'
           f'{"FLOPs":>7}{heads}  bound by')
    for name in names:
        taken = measured.get(card.architecture, kernels.resources).get(name)
        registers, shared, local = (*taken, 0)[:3] if taken else ('', '', '')
        fits = fitting(card.architecture, registers, shared, block=most[name]) * most[name] if taken else ''
        fits = f'{fits / ROOM[card.architecture].threads:.0%}' if taken else ''
        stated = '*' if taken and not measured else ''
        line = f'{name:36}{f"{registers}{stated}":>10}{fits:>9}{f"{shared}{stated}":>8}{f"{local}{stated}":>7}'
        if name in kernels.traffic:
            work = [per_element(kernels.traffic[name], m, n) for m, n in SIZES]
            times = [least_time(card, one, m * n) for one, (m, n) in zip(work, SIZES)]
            line += f'{work[0][0]:>7.4g}{work[0][1]:>7.0f}' + ''.join(f'{1e6 * time:16.3f}' for time, _ in times)
            line += f'  {times[0][1]}'
        yield line.rstrip()
    if not measured:
        yield '*: as stated, not measured'
    yield ("registers: per thread; threads: the fraction of a multiprocessor's threads for which there is room\n"
           '(registers and shared memory); bytes and FLOPs: per element at the first size, counted as roofline.py\n'
           'says; us: the larger of bytes / bandwidth and FLOPs / peak, without the launch')
    few = {name: count for name, count in blocks(kernels, names).items() if count < card.multiprocessors}
    if few:
        m, n = SIZES[0]
        yield fill(f'fewer blocks than the {card.multiprocessors} multiprocessors of the {gpu}, at {m} x {n} (products '
                   'have 70 columns): ' + ', '.join(f'{name} {count}' for name, count in few.items()), 120)


def threads(kernels):
    """name -> the threads of a block: as many as its launch bounds say, or else 256."""
    return {name: 256 for name in signatures(kernels.code)} | {
        name: int(most) for most, name in BOUNDS.findall(kernels.code)}


def table_of_room(kernels, names, measured):
    """Lines: the registers of a kernel for each architecture, and how many of its blocks a multiprocessor holds."""
    if measured:
        most = threads(kernels)
        yield f'\n{"registers / blocks that fit":36}' + ''.join(f'{architecture:>10}' for architecture in measured)
        for name in names:
            found = [taken[name][:2] for taken in measured.values()]
            yield f'{name:36}' + ''.join(
                f'{f"{registers} / {fitting(architecture, registers, shared, block=most[name])}":>10}'
                for architecture, (registers, shared) in zip(measured, found))


def blocks(kernels, names):
    """name -> the blocks that its twin launches at the first of SIZES; nothing is computed."""
    found = dict.fromkeys(names, 0)
    counted = {name: lambda grid, block, _, name=name: found.update({name: max(found[name], prod(grid))})
               for name in names}
    twins = kernels.twins(SimpleNamespace(get_function=lambda name: counted.get(name, lambda *_: None)), kernels.code)
    for case, (given, keywords) in kernels.arguments(*SIZES[0], 0).items():
        twin = getattr(twins, case.split(',')[0], None)
        if case.split(',')[0] in names and twin:
            with suppress(Exception):  # an unfinished twin may raise anything; the comparisons report it
                twin(*given, **keywords)
    return {name: count for name, count in found.items() if count}
