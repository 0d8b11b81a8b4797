"""A CUDA kernel to write, which runs on the CPU."""

import inspect
import re
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from minigan import backend, ops
from minigan.study.exercises import calls, student
from minigan.study.exercises.calls import Case
from minigan.study.exercises.elementwise import normal
from minigan.study.exercises.exercise import Exercise, Function, M
from minigan.study.exercises.terms import Term
from minigan.study.exercises.trials import training
from minigan.study.exercises.words import Mistake

NAME, ORDERS = 'tanh_backward', ((0, 96), (1, 256), (2, 1024))  # of threads; threads of a block


class KernelExercise(Exercise):
    """The student writes a kernel in a .cu file; its twin launches it in the project's emulator."""

    suffix = '.cu'
    seconds = 120  # with a compiler

    def template(self, path):
        """The specification's docstring, and the kernel's signature, without the body."""
        head = re.search(r'(?s)extern.*?\) \{\n', self.solution())[0]
        return (f'// Write the body. Then run: {student.command(self, path)}\n\n'
                f'// {inspect.getdoc(ops.tanh_backward)}\n{head}    // Write the body here.\n}}\n')

    def solution(self):
        """The kernel, as the package has it."""
        from minigan.gpu.twins import code
        return re.search(rf'(?ms)^// ops\.{NAME}\..*?^}}\n', code())[0]

    def functions_of(self, path):
        """name -> the twin. Raises Unusable for what does not compile, and without a compiler."""
        from minigan.gpu import emulator, kernelcheck, kernelset, launch, twins
        if not emulator.COMPILER:
            raise student.Unusable(f'{self.name}: the check compiles the kernel for this CPU, and there is '
                                   f'{kernelcheck.NO_COMPILER}')
        try:
            text = path.read_text(encoding='utf-8')
        except UnicodeDecodeError as error:
            raise student.Unusable(f'{path}: expected UTF-8, got the byte {error.object[error.start]:#x} at '
                                   f'{error.start}') from error
        if launch.signatures(text).get(NAME) != launch.signatures(twins.code())[NAME]:
            raise student.Unusable(f'{path}: expected extern "C" __global__ void {NAME} with the arguments that '
                                   f'`minigan exercise start {self.name}` writes')
        kernels = replace(kernelset.own(), code=text, twins=type('Twins', (launch.Launcher,), {
            NAME: getattr(twins.Kernels, NAME)}))
        try:
            emulated = kernelcheck.emulated(kernels)
        except emulator.CompileError as error:
            said = [line for line in str(error).splitlines() if 'error' in line] or [str(error)]
            raise student.Unusable(said[0].replace(emulator.SOURCE, str(path))) from error
        return {NAME: twin_of(emulated, path)}

    @contextmanager
    def installed(self, functions):
        """NumPy's float32 arrays go to the student's kernel."""
        before = backend.TWINS.copy()
        backend.TWINS['numpy'] = lambda xp: SimpleNamespace(**functions)
        try:
            yield
        finally:
            backend.TWINS.clear()
            backend.TWINS.update(before)


SAYS = {  # what a message of the emulator contains -> what it means here
    'memory outside an array': 'A thread whose i is not below size has no element: it must do nothing.',
    'blocks have no order': 'Two blocks write the same element: i must count over all blocks, '
                            'blockIdx.x * blockDim.x + threadIdx.x.',
    'no barrier': 'Two threads write the same element: each must have an i of its own, with threadIdx.x.'}


def twin_of(emulated, path):
    """A function with the signature of the specification, which runs the kernel in several orders of the threads and
    sizes of blocks, and returns the result that is furthest off."""
    from minigan.gpu.compare import by_error, largest_difference

    def tanh_backward(dy, y):
        found = []
        for emulated.module.seed, emulated.block in ORDERS:
            try:
                found.append(emulated.tanh_backward(dy, y))
            except RuntimeError as error:
                why = ''.join(f' {says}' for found, says in SAYS.items() if found in str(error))
                raise calls.Wrong(f'{path}: {error}.{why}') from error
        expected = inspect.unwrap(ops.tanh_backward)(dy, y)
        return max(found, key=lambda dx: by_error(largest_difference(dx, expected)))
    return tanh_backward


def _fixed_blocks(dy, y):
    """What blocks of 96 threads write if they take themselves for blocks of 256."""
    written = (np.arange(dy.size) % 256 < ORDERS[0][1]).reshape(dy.shape)
    return np.where(written, dy * (1 - y**2), np.nan).astype(np.float32)


KERNEL = KernelExercise(
    'tanh_backward_kernel', 5, 'a CUDA kernel, run on the CPU', (Function(
        ops, NAME, lambda: [Case((normal(0, M, 99).astype(np.float32), np.tanh(normal(1, M, 99)).astype(np.float32)))],
        returns='dx',
        terms=lambda dy, y: {'dx': [Term('dy', 'the constant part of 1 - y^2', dy),
                                    Term('-dy * y^2', 'the square of the output', -dy * y**2)]},
        mistakes=(
            Mistake('No element of dx is written: is the body empty?', lambda dy, y: np.full_like(y, np.nan)),
            Mistake('Elements are left out, because a block has a fixed number of threads in the index: use '
                    'blockDim.x, which may be any number.', _fixed_blocks),
            Mistake('y is the output, and the tanh has been taken of it once more: the derivative is 1 - y^2.',
                    lambda dy, y: dy * (1 - np.tanh(y)**2)),
            Mistake('y is not squared: the derivative of tanh is 1 - y^2.', lambda dy, y: dy * (1 - y)))),),
    hints=('Each thread computes one element. Which one, and what must a thread do whose element does not exist?',
           'i = blockIdx.x * blockDim.x + threadIdx.x; only if i < size: dx_i = dy_i (1 - y_i^2).'),
    checks={'training in float32': lambda: training('float32')})
