"""One command for a GPU: is minigan correct there, how fast is it, and what bounds it?

    python bench/bench_gpu.py --out FOLDER                        everything, at most 8 minutes a part
    python bench/bench_gpu.py --out FOLDER --quick                few rounds, batch 32
    python bench/bench_gpu.py --out FOLDER --parts selftest step  these parts; the others keep their results

The parts:
    selftest      each kernel against its specification, and whole steps against the CPU, as `minigan selftest`
    tests         tests/gpu/test_gpu.py
    sanitizer     NVIDIA's compute-sanitizer, if it is installed, with its four tools over every kernel
    kernels       every kernel against a copy, CuPy's own functions and PyTorch, in blocks of several sizes
    products      the matrix products of all networks' steps and the ladder that leads to them, against cuBLAS
    convolutions  convolutions against cuDNN, forward and backward
    step          a step: minigan as one graph and launch by launch, PyTorch in four forms and more, JAX; and its floor
    train         whole runs on MNIST by the clock, with the measures of `minigan evaluate`; on the digits without MNIST

FOLDER gets bench_gpu.json, the page bench_gpu.md and its charts. Each result is saved as soon as it is there. Every
part runs in a process of its own, so that one that crashes leaves the others alone; a part begins nothing new after
6 minutes and is stopped after 8. Times are medians over the rounds, with quartiles; in a round each thing
takes a turn of about 10 ms, a step of 100 ms. TF32 is off, whatever the environment says.
Exit code: 0 if nothing is wrong, 1 if anything is wrong or a part ended with an error, 2 without a GPU, 130 if stopped.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import positive
from on_gpu import page
from on_gpu.page import JSON, PAGE, PARTS
from on_gpu.part import Settings, in_words

from minigan.gpu.device import select_device
from minigan.storage.files import atomic_write

COMMAND = 'python bench/bench_gpu.py --out FOLDER --parts'
FORMAT = 1  # of the results, which the page must be able to read
STOP = 480  # seconds after which a part is killed
TF32 = 'CUPY_TF32', 'NVIDIA_TF32_OVERRIDE', 'TORCH_ALLOW_TF32_CUBLAS_OVERRIDE'  # switches in the environment
QUICK = Settings(rounds=3, seconds=0.003, limit=120, batches=(32,), rows=(64,), runs=1)


def load(folder):
    """The results in a folder so far. Raises ValueError for a damaged file, and for one of a different format."""
    path = Path(folder) / JSON
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
        if content['format'] != FORMAT:
            raise ValueError(f'format {content["format"]} instead of {FORMAT}')
        return {name: dict(content[name]) for name in PARTS if name in content}
    except (ValueError, TypeError, KeyError) as error:
        said = f'{type(error).__name__}: {error}'
        raise ValueError(f'{path}: expected results of this version of the command, got others ({said})') from error


def save(folder, name, **changes):
    """Change the results of a part in the folder's file."""
    content = load(folder)
    content[name] = {**content.get(name, {}), **changes}
    with atomic_write(Path(folder) / JSON, 'w') as file:
        json.dump({'format': FORMAT, **content}, file, indent=1)


def measure(folder, name, xp, settings):
    """Run one part in this process, and save each result. An error ends the part and is saved."""
    results, begin = [], time.perf_counter()

    def keep(**more):
        save(folder, name, results=results, seconds=time.perf_counter() - begin, **more)

    keep(about=page.about(xp))
    try:
        for result in PARTS[name].measure(xp, settings):
            results.append(result)
            late = time.perf_counter() - begin > settings.limit
            keep(cut=late)
            if late:
                break
    except Exception as error:  # whatever it is, the other parts go on
        keep(error=in_words(error))
    keep(done=True)


def in_a_process(folder, name, arguments):
    """Run one part in a process of its own; what ends it before time is saved as its error."""
    command = [sys.executable, __file__, '--out', str(folder), '--here', *arguments, '--parts', name]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors='replace',
                               start_new_session=True)
    try:
        _, said = process.communicate(timeout=STOP)
    except subprocess.TimeoutExpired:
        return save(folder, name, error=f'stopped after {STOP} s')
    finally:
        end(process)
    if not load(folder)[name]['done']:
        lines = said.strip().splitlines()[-1:]
        save(folder, name, error=f'its process ended with code {process.returncode}: {"".join(lines)}')


def end(process):
    """Kill a process and its children, if any still runs."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run(folder, names, xp, settings, arguments, here):
    """Run the parts, and write the page after each. arguments: of the command line. here: all in this process."""
    for name in names:
        print(f'{name} ...', end=' ', flush=True)
        save(folder, name, results=[], about={}, error=None, cut=False, done=False, seconds=0.0,
             rounds=settings.rounds, command=' '.join([COMMAND, name, *arguments]))
        try:
            if here:
                measure(folder, name, xp, settings)
            else:
                in_a_process(folder, name, arguments)
        finally:
            content = load(folder)
            page.write(folder, content)
        one = content[name]
        print(f'{len(one["results"])} results, {one["seconds"]:.0f} s', page.unfinished(one) or '', flush=True)


def main():
    """Parse the arguments, run the parts, write the page, print the verdict. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, metavar='FOLDER', type=Path, help='where the results go')
    parser.add_argument('--parts', nargs='+', metavar='PART', choices=PARTS, default=[*PARTS],
                        help=f'only these: {", ".join(PARTS)}')
    parser.add_argument('--quick', action='store_true', help='a first look')
    parser.add_argument('--rounds', type=positive, metavar='N', help='of timing; default: 7')
    parser.add_argument('--here', action='store_true', help='run the parts in this process, which nothing stops')
    options = parser.parse_args()
    settings = QUICK if options.quick else Settings()
    settings = settings._replace(rounds=options.rounds or settings.rounds)
    for name in TF32:
        os.environ.pop(name, None)  # before CuPy reads it
    try:
        xp, _ = select_device('cuda')
        options.out.mkdir(parents=True, exist_ok=True)
        load(options.out)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # JAX takes three quarters of the GPU's memory
    arguments = ['--rounds', str(settings.rounds), *(['--quick'] if options.quick else [])]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else a part's process would go on
    try:
        run(options.out, options.parts, xp, settings, arguments, options.here)
    except KeyboardInterrupt:
        print(f'stopped; {options.out / PAGE} has the results so far')
        return 130
    content = load(options.out)
    print('', *page.verdict(content), f'{options.out / PAGE}', sep='\n')
    return 1 if page.faults(content) else 0


if __name__ == '__main__':
    sys.exit(main())
