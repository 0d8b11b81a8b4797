"""Exercises: what start writes, how a check uses a student's function and gives the package its own back, and the CLI.

Typical mistakes, and the words that they get, are in test_exercise_mistakes.py.
"""

import ast
import inspect
import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import numpy as np
import pytest

from minigan import backend, losses, ops
from minigan.cli import main
from minigan.gan import Game
from minigan.gpu import emulator
from minigan.study.exercises import catalogue, student, template, trials
from minigan.study.exercises.catalogue import EXERCISES
from minigan.study.exercises.check import Line, _line, check, check_all
from minigan.study.exercises.exercise import Exercise

PYTHON = {name: exercise for name, exercise in EXERCISES.items() if exercise.suffix == '.py'}
TANH = 'def tanh_backward(dy, y):\n    return dy * (1 - y**2)\n'
WRONG = 'def tanh_backward(dy, y):\n    return dy * (1 + y**2)\n'


def written(folder, text, name='tanh_backward.py'):
    path = folder / name
    path.write_text(text)
    return path


def package():
    """Every function that the package's modules, classes and objectives know, by place."""
    found = {(id(holder), name): value for holder in student.holders() for name, value in vars(holder).items()
             if inspect.isfunction(value)}
    return found, losses.OBJECTIVES.copy(), backend.TWINS.copy()


def unchanged(before):
    """Whether the package knows the functions that it knew; a check may have imported more modules."""
    functions, *others = package()
    return functions | before[0] == functions and others == list(before[1:])


def test_there_are_12_exercises_or_more_ordered_by_difficulty():
    difficulties = [exercise.difficulty for exercise in EXERCISES.values()]
    assert len(EXERCISES) >= 12 and difficulties == sorted(difficulties) and set(difficulties) == {1, 2, 3, 4, 5}
    assert all(len(exercise.hints) == 2 for exercise in EXERCISES.values())


@pytest.mark.parametrize('exercise', PYTHON.values(), ids=PYTHON)
def test_a_template_has_the_signature_and_the_docstring_of_the_package_and_no_body(exercise, tmp_path):
    path = written(tmp_path, exercise.template(tmp_path / 'mine.py'), 'mine.py')
    tree = ast.parse(path.read_text())
    functions = exercise.functions_of(path)
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == list(functions)
    for function in exercise.functions:
        theirs = functions[function.name]
        assert inspect.signature(theirs) == inspect.signature(function.own)
        if '_backward' not in function.name:
            assert inspect.getdoc(theirs) == inspect.getdoc(function.own)
    assert all(len(node.body) == 1 for node in tree.body if isinstance(node, ast.FunctionDef))
    assert path.read_text().startswith('# ') and f'minigan exercise check {exercise.name}' in path.read_text()


@pytest.mark.parametrize('name, says', [
    ('leaky_relu_backward', 'Derivative of leaky_relu; at the kink x = 0 it takes the left slope.'),
    ('tanh_backward', 'Derivative of tanh, from its output.'),
    ('batch_norm_backward', 'Derivative of batch_norm: x acts directly, through mu and through var, in the order of '
     "dx's three terms.\n\ndy: (m, n). Returns dx (m, n), dgamma (n,), dbeta (n,)."),
    ('cross_entropy_backward', 'Derivative of cross_entropy.'), ('L_D_backward', 'Derivative of L_D.')])
def test_a_template_of_a_derivative_leaves_its_equation_out_and_shows_the_forward_function(name, says, tmp_path):
    exercise = EXERCISES[name]
    text = exercise.template(Path('mine.py'))
    function = exercise.functions_of(written(tmp_path, text, 'mine.py'))[name]
    assert inspect.getdoc(function) == says
    forward = inspect.getdoc(getattr(exercise.functions[0].owner, name.partition('_backward')[0]))
    assert all(line.strip() in text for line in forward.splitlines()) and 'which you differentiate' in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_a_template_says_what_its_names_mean_and_what_to_return():
    text = EXERCISES['L_D_backward'].template(Path('mine.py'))
    assert "# The docstring of minigan.losses:" in text and "real, fake: (m, 1), D's logits for m examples" in text
    assert '    # Return dreal, dfake.\n    # Write the body here.' in text
    text = EXERCISES['batch_norm_backward'].template(Path('mine.py'))
    assert 'the cache (xhat, rstd)' in text and '@' not in text


def test_a_template_of_a_method_says_what_self_offers():
    text = EXERCISES['Game.alternating'].template(Path('mine.py'))
    assert '#   self.minibatch(j)\n#       The j-th minibatch of data, x (m, n).\n' in text
    assert '#   self.k\n#       D steps per G step.\n' in text and '#   self.update_G(z, rng)\n' in text
    text = EXERCISES['Game.update_D'].template(Path('mine.py'))
    assert ('#   self.G.forward(x, *, training=True, rng=None, keep_cache=True)\n'
            '#       The output for the rows of x. Pass rng=rng.\n') in text
    assert '#   self.optimizer_D.step()\n#       Move theta against dtheta.\n' in text and 'self.G\n' not in text
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize('exercise', PYTHON.values(), ids=PYTHON)
def test_a_solution_is_the_source_of_the_package(exercise):
    for function in exercise.functions:
        source = template.source(function.own)
        assert source in exercise.solution() and source.startswith(f'def {function.name}(')
        assert dedent(inspect.getsource(inspect.unwrap(function.own))).endswith(f'{source}\n')


class Boom(Exception):
    pass


@pytest.mark.parametrize('exercise', EXERCISES.values(), ids=EXERCISES)
def test_every_check_runs_the_students_function(exercise):
    def broken(*arguments, **keywords):
        raise Boom

    trials.prepare()
    before = package()
    for function in exercise.functions:
        functions = {other.name: inspect.unwrap(other.own) for other in exercise.functions} | {function.name: broken}
        with exercise.installed(functions):
            lines = [_line(title, run, 'mine.py') for title, run in exercise.checks.items()]
        assert len(lines) >= 1 and all('Boom' in line.said for line in lines), lines
        assert unchanged(before)


@pytest.mark.parametrize('name, wrong, says', [
    ('tanh_backward', lambda dy, y: dy * (1 + y**2), [
        'expected', 'fails the law "derivatives are correct": wrong for x of shape (2, 1)',
        'after step 1, theta_G differs by']),
    ('cross_entropy', lambda logit, *, target: target * ops.softplus(-logit).mean(), ['expected', 'after step 1, V']),
    ('cross_entropy_backward', lambda logit, *, target: target / len(logit) + 0 * logit, [
        'expected', 'L_D does not fall while D learns from one minibatch']),
    ('adam_', lambda theta, dtheta, *moments, learning_rate, **more: np.subtract(
        theta, learning_rate * dtheta, out=theta), ['expected', 'after step 1, theta_D'])])
def test_every_check_finds_a_wrong_function(name, wrong, says):
    trials.prepare()
    with EXERCISES[name].installed({name: wrong}):
        lines = [_line(title, run, 'mine.py') for title, run in EXERCISES[name].checks.items()]
    assert len(lines) == len(says) and not any(line.ok for line in lines)
    assert all(text in line.said for text, line in zip(says, lines)), lines


@pytest.mark.parametrize('name, body', [
    ('tanh_backward', 'return dy * (1 + y**2)'), ('tanh_backward', 'return dy if dy.dtype == float else 1 / 0'),
    ('cross_entropy_backward', 'return logit'), ('L_D_backward', 'return real / len(real), fake / len(fake)'),
    ('Game.update_D', 'self.optimizer_D.step()\n    return x[:, :1], z[:, :1]'), ('tanh_backward', 'while True: pass')])
def test_a_check_gives_the_package_its_functions_back(name, body, tmp_path, monkeypatch):
    monkeypatch.setattr(Exercise, 'seconds', 0.5)
    exercise, before = EXERCISES[name], package()
    text = exercise.template(tmp_path / 'mine.py').replace('# Write the body here.', body)
    assert not check(exercise, written(tmp_path, text, 'mine.py')).passed
    assert unchanged(before)


def test_installing_reaches_copies_of_a_name_methods_and_objectives():
    def mine(*arguments, **keywords):
        raise Boom

    before = losses.cross_entropy_backward
    assert before is ops.cross_entropy_backward  # a copy of the name
    with student.installed({before: mine, Game.update_D: mine, losses.L_D_backward: mine}):
        assert losses.cross_entropy_backward is ops.cross_entropy_backward is Game.update_D is mine
        assert all(losses.OBJECTIVES[name].L_D_backward is mine for name in ('minimax', 'nonsaturating'))
    assert losses.cross_entropy_backward is ops.cross_entropy_backward is before and Game.update_D is not mine


def test_a_wrong_file_does_not_change_what_is_said_of_the_next(tmp_path):
    written(tmp_path, 'def leaky_relu_backward(dy, x, *, slope):\n    return dy\n', 'leaky_relu_backward.py')
    written(tmp_path, TANH)
    written(tmp_path, 'def dense(x, W, b=None):\n    return x\n', 'dense.py')
    written(tmp_path, 'extern "C" __global__ void tanh_backward(float* dy) {\n}', 'tanh_backward_kernel.cu')
    (tmp_path / 'cross_entropy.py').write_bytes(b'\xff\0')
    entries = {entry['name']: entry for entry in check_all(tmp_path, EXERCISES.values())}
    assert [name for name, entry in entries.items() if entry['passed']] == ['tanh_backward']
    assert [name for name, entry in entries.items() if not entry['missing']] == [
        'leaky_relu_backward', 'tanh_backward', 'dense', 'cross_entropy', 'tanh_backward_kernel']
    assert list(entries) == list(EXERCISES)


@pytest.mark.parametrize('text, says', [
    ('def tanh_backward(dy, y)\n    return dy\n', "tanh_backward.py, line 1: SyntaxError: expected ':'"),
    ('x = 1\n', 'tanh_backward.py: expected a function tanh_backward, got none'),
    ('tanh_backward = 3\n', 'tanh_backward.py: expected a function tanh_backward, got none'),
    ('import numpy\n\nnumpy.nothing\n', 'tanh_backward.py, line 3: AttributeError: module'),
    ('import sys\nsys.exit(0)\n', 'tanh_backward.py, line 2: SystemExit: 0'),
    ('from minigan.ops import tanh_backward\n',
     "tanh_backward.py: expected a function tanh_backward of your own, got the package's"),
    ('from minigan.ops import nothing\n', 'tanh_backward.py, line 1: ImportError: cannot import name'),
    (None, 'tanh_backward.py: no such file in this folder; `minigan exercise start tanh_backward` begins one')])
def test_a_file_that_cannot_be_used_gives_one_line_and_exit_code_2(text, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'exercises').mkdir()
    if text:
        written(tmp_path / 'exercises', text)
    assert main(['exercise', 'check', 'tanh_backward']) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f'minigan: error: exercises/{says}') and printed.err.count('\n') == 1
    assert printed.out == ''
    if text:
        entry = next(one for one in check_all(tmp_path / 'exercises', EXERCISES.values()) if not one['missing'])
        assert not entry['passed'] and says in entry['words'][0]


@pytest.mark.parametrize('body, says', [
    ('z = dy\n    return sigmod(z)', "tanh_backward.py, line 6: NameError: name 'sigmod' is not defined. It was "
     'called with dy of shape (7, 5), y of shape (7, 5).'),
    ('return dy * (1 - y**2) * 7 / len(dy)', 'gradient check of Tanh(): x: expected'),
    ('return dy * (1 - y**2) if len(dy) == 7 else dy[9]', 'tanh_backward.py, line 5: IndexError: index 9'),
    ('exit()', 'tanh_backward.py, line 5: SystemExit'),
    ('exit() if len(dy) != 7 else 0\n    return dy * (1 - y**2)',
     'tanh_backward.py, line 5: SystemExit: None'),
    ('dy.shape = (-1,)\n    return dy', 'The argument dy is changed in place: its shape was (7, 5) and is (35,).'),
    ('return dy * 1j', 'dx: expected real numbers, got ndarray of dtype complex128.'),
    ('return [dy]', 'dx: expected an array, got list'),
    ('return dy, y', 'dx: expected an array, got tuple'),
    ('return np.zeros(())', 'dx: expected the shape (7, 5), got ()'),
    ('return 0 * dy', 'dx is 0 everywhere'),
    ('return 2 * dy * (1 - y**2)', 'dx is 2 times what it should be'),
    ('return dy * (1 - 3 * y**2)',
     'the square of the output is 3 times what it should be: the term -dy * y^2 has the coefficient 3, expected 1'),
    ('return dy + 1', 'dx differs in 35 of 35 entries. The worst entry is dx['),
    ('return dy * y**3', 'dx differs in 35 of 35 entries.'),
    ('return dy / 0', 'dx is not finite: '),
    ('from minigan import ops\n    return ops.tanh_backward(dy, y)', 'it calls itself without an end'),
    ('while True:\n        pass', 'It takes more than 0.3 seconds: an infinite loop?'),
    ('while True:\n        try:\n            1 / 0\n        except Exception:\n            pass', 'It takes more')])
def test_what_is_wrong_in_general_is_said_in_general(body, says, tmp_path, monkeypatch):
    monkeypatch.setattr(Exercise, 'seconds', 0.3)
    path = written(tmp_path, f'import numpy as np\n\n\ndef tanh_backward(dy, y):\n    {body}\n')
    assert says in ' '.join(check(EXERCISES['tanh_backward'], path).words)


@pytest.mark.parametrize('name, body, says', [
    ('cross_entropy', 'return 10**400', 'loss: expected real numbers, got int of dtype object.'),
    ('cross_entropy', "return np.str_('a')", 'loss: expected real numbers, got str_ of dtype <U1.'),
    ('cross_entropy', 'return np.complex128(3)', 'loss: expected real numbers, got complex128'),
    ('batch_norm_backward', 'return [dy, gamma, gamma]', 'It returns a list, expected a tuple: dx, dgamma, dbeta.'),
    ('dense_backward_params_', 'dW.shape = (-1,)', 'The argument dW is changed in place: its shape was (4, 4)'),
    ('Game.alternating', 'z = np.zeros(3)\n    self.update_D(self.minibatch(2), z, self.layer_rng(t, 0))\n    '
     'return self.update_G(z, self.layer_rng(t, 1))',
     'z of update_D, which is update 1: expected noise(2, 0), got [0. '),
    ('Game.alternating', 'z = self.noise(t, 0)\n    self.update_D(self.minibatch(2), z, self.layer_rng(t, 0))\n    '
     'self.update_G(self.noise(t, 1), self.layer_rng(t, 1))\n    return np.zeros(3), z, z', 'It returns (array([0.'),
    ('Game.update_G', 'update_G.calls = getattr(update_G, "calls", 0) + 1\n    1 / (update_G.calls - 3)\n    '
     'fake = self.D.forward(self.G.forward(z, rng=rng), rng=rng)\n    '
     'self.G.backward(self.D.backward(self.L_G_backward(fake), param_grads=False))\n    self.optimizer_G.step()\n    '
     'return fake', 'ZeroDivisionError')])
def test_results_of_other_kinds_are_named(name, body, says, tmp_path):
    exercise = EXERCISES[name]
    text = exercise.template(tmp_path / 'mine.py').replace('# Write the body here.', body)
    assert says in ' '.join(check(exercise, written(tmp_path, text, 'mine.py')).words)


@pytest.mark.parametrize('error', [TypeError, RuntimeError])
def test_an_error_that_nobody_expected_does_not_lose_the_report(error, tmp_path, monkeypatch):
    def functions_of(self, path):
        raise error('whatever')

    written(tmp_path, TANH)
    monkeypatch.setattr(Exercise, 'functions_of', functions_of)
    entries = {entry['name']: entry for entry in check_all(tmp_path, EXERCISES.values())}
    assert len(entries) == len(EXERCISES) and entries['tanh_backward']['words'] == [f'{error.__name__}: whatever']


SWALLOWS = '''import time
calls = 0


def tanh_backward(dy, y):
    global calls
    calls += 1
    try:
        while calls == 1:
            pass
    except:
        pass
    AFTER
    return dy * (1 - y**2)
'''


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no timer')
@pytest.mark.parametrize('after', [
    'pass', 'end = time.time() + 3 * (calls == 1)\n    while time.time() < end: pass\n    '
    'assert calls > 1, "not stopped"'])
def test_a_function_that_swallows_the_end_of_its_time_is_stopped(after, tmp_path, monkeypatch):
    monkeypatch.setattr(Exercise, 'seconds', 0.3)
    outcome = check(EXERCISES['tanh_backward'], written(tmp_path, SWALLOWS.replace('AFTER', after)))
    assert outcome.words == ['It takes more than 0.3 seconds: an infinite loop?']


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no timer')
def test_the_time_cannot_end_while_the_package_gets_its_functions_back(tmp_path, monkeypatch):
    install, timers = student.installed, []

    @contextmanager
    def installed(functions):
        with install(functions):
            try:
                yield
            finally:
                timers.append(signal.getitimer(signal.ITIMER_REAL)[0])

    monkeypatch.setattr(student, 'installed', installed)
    before = signal.getsignal(signal.SIGALRM)
    assert check(EXERCISES['tanh_backward'], written(tmp_path, TANH)).passed
    assert timers == [0] and signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize('text', [
    'from __future__ import annotations\nfrom dataclasses import dataclass\n\n\n'
    f'@dataclass\nclass Pair:\n    a: float\n\n\n{TANH}',
    'import helper\n\n\n' + TANH.replace('dy *', 'helper.times * dy *'),
    TANH.replace('return dy *', 'import helper\n    return helper.times * dy *')])
def test_a_file_may_define_dataclasses_and_import_its_neighbours_which_are_forgotten(text, tmp_path):
    for times in (1, 2):
        folder = tmp_path / str(times)
        folder.mkdir()
        written(folder, f'times = {times}\n', 'helper.py')
        before = sys.path.copy()
        passed = check(EXERCISES['tanh_backward'], written(folder, text)).passed
        assert passed == (times == 1 or 'helper' not in text)
        assert sys.path == before and not {'helper', 'tanh_backward'} & set(sys.modules)


def test_different_arguments_are_refused(tmp_path):
    path = written(tmp_path, 'def tanh_backward(y, dy):\n    return dy * (1 - y**2)\n')
    assert check(EXERCISES['tanh_backward'], path).words == ['Expected the arguments (dy, y), got (y, dy).']


@pytest.mark.parametrize('name, body', [
    ('leaky_relu_backward', 'out = dy.copy()\n    out[x <= 0] *= slope\n    return out'),
    ('tanh_backward', 'return dy - dy * np.square(y)'),
    ('dense', 'y = np.einsum("mi,ij->mj", x, W)\n    return y if b is None else y + b[None]'),
    ('dense_backward_input', 'return np.tensordot(dy, W, axes=(1, 1))'),
    ('dense_backward_params_', 'dW[:] = np.einsum("mi,mj->ij", x, dy)\n    if db is not None:\n'
     '        db[:] = np.ones(len(dy), dy.dtype) @ dy'),
    ('cross_entropy', 'return float((np.logaddexp(0, logit) - target * logit).mean())'),
    ('cross_entropy_backward', 'D, rest = sigmoid(logit), sigmoid(-logit)\n'
     '    return np.where(target == 1, -rest, (1 - target) * D - target * rest) / np.float32(logit.size)'),
    ('L_D_backward', 'm = real.shape[0]\n    D = lambda x: np.exp(-np.logaddexp(0, -x))\n'
     '    return (D(real) - 1 + smoothing) / m, D(fake) / m'),
    ('L_G_nonsaturating_backward', 'return -1 / (1 + np.exp(fake)) / fake.size'),
    ('batch_norm', 'mu, var = np.mean(x, 0), np.var(x, 0)\n    rstd = (var + eps)**-0.5\n    xhat = (x - mu) * rstd\n'
     '    return xhat * gamma + beta, (xhat, rstd), (mu, var)'),
    ('batch_norm_backward', 'xhat, rstd = cache\n    d = gamma * dy\n'
     '    dx = rstd * (d - d.mean(0) - xhat * (d * xhat).mean(0))\n    return dx, sum(dy * xhat), np.sum(dy, 0)'),
    ('adam_', 'M = dtheta if m is None else beta1 * m + dtheta\n    V = beta2 * v + dtheta**2\n    if m is not None:\n'
     '        m[:] = M\n    v[:] = V\n    n1, n2 = sum(beta1**i for i in range(t)), sum(beta2**i for i in range(t))\n'
     '    theta[:] = theta - learning_rate * (M / n1) / (np.sqrt(V / n2) + eps)'),
    ('Game.update_D', 'x = np.concatenate([x, self.G.forward(z, rng=rng)])\n    self.G.drop_cache()\n'
     '    y = self.D.forward(x, rng=rng)\n    real, fake = np.split(y, 2)\n    self.D.backward(self.L_D_backward(real, '
     'fake))\n    self.optimizer_D.step()\n    return real, fake'),
    ('Game.update_G', 'x = self.G.forward(z, rng=rng)\n    y = self.D.forward(x, rng=rng)\n'
     '    self.G.backward(self.D.backward(self.L_G_backward(y), param_grads=False))\n'
     '    self.optimizer_G.step()\n    return y'),
    ('Game.alternating', 'i = 0\n    while i < self.k:\n        pair = self.update_D(x=self.minibatch(self.k * t + i), '
     'z=self.noise(t, i), rng=self.layer_rng(t, i))\n        i += 1\n'
     '    return *pair, self.update_G(rng=self.layer_rng(t, i), z=self.noise(t, i))')])
def test_a_correct_body_written_in_another_way_passes(name, body, tmp_path):
    exercise = EXERCISES[name]
    text = exercise.template(tmp_path / 'mine.py').replace('# Write the body here.', body)
    outcome = check(exercise, written(tmp_path, text, 'mine.py'))
    assert outcome.passed, outcome.words


@pytest.mark.skipif(not emulator.COMPILER, reason='no C++ compiler')
def test_a_correct_kernel_written_in_another_way_passes(tmp_path):
    exercise, path = EXERCISES['tanh_backward_kernel'], tmp_path / 'k.cu'
    path.write_text(exercise.template(path).replace('// Write the body here.', """
        int first = blockIdx.x * blockDim.x, i = first + threadIdx.x;
        if (i >= size) return;
        dx[i] = dy[i] - dy[i] * y[i] * y[i];"""))
    assert check(exercise, path).passed


def test_compiled_kernels_do_not_hide_a_students_function(tmp_path, monkeypatch):
    monkeypatch.setitem(backend.TWINS, 'numpy', lambda xp: SimpleNamespace(
        tanh_backward=lambda dy, y: inspect.unwrap(ops.tanh_backward)(dy, y)))
    lines = check(EXERCISES['tanh_backward'], written(tmp_path, WRONG)).lines
    assert len(lines) == 4 and not any(line.ok for line in lines)


def test_the_readme_shows_what_a_check_says(tmp_path, capsys):
    text = (Path(catalogue.__file__).parent / 'README.md').read_text()
    exercise = EXERCISES['batch_norm_backward']
    body = ('xhat, rstd = cache\n    d = gamma * dy\n'
            '    return rstd * (d - d.mean(axis=0)), (dy * xhat).sum(axis=0), dy.sum(axis=0)')
    file = exercise.template(tmp_path / 'mine.py').replace('# Write the body here.', body)
    assert main(['exercise', 'check', exercise.name, str(written(tmp_path, file, 'mine.py'))]) == 1
    shown = re.search('```\\n(dx: .*?)```', text, re.DOTALL)[1]
    assert f'\n\n{shown}\nFor a hint' in capsys.readouterr().out
    assert len(EXERCISES) == 17 and text.splitlines()[2].startswith('Seventeen functions')


def test_laws_are_skipped_visibly_without_hypothesis(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, 'minigan.checks.laws', raising=False)
    monkeypatch.setitem(sys.modules, 'hypothesis', None)
    outcome = check(EXERCISES['tanh_backward'], written(tmp_path, TANH))
    assert outcome.passed and '  skipped laws of Tanh() (hypothesis is not installed)' in map(str, outcome.lines)


def test_without_a_compiler_the_kernel_gives_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(emulator, 'COMPILER', None)
    assert main(['exercise', 'start', 'tanh_backward_kernel', '-o', 'k.cu']) == 0
    assert main(['exercise', 'check', 'tanh_backward_kernel', 'k.cu']) == 2
    assert 'compiles the kernel for this CPU, and there is no C++ compiler' in capsys.readouterr().err


@pytest.mark.skipif(not emulator.COMPILER, reason='no C++ compiler')
@pytest.mark.parametrize('old, new, says', [
    ('// Write the body here.', 'int j = 0', 'k.cu:'),
    ('const float* __restrict__ dy /* size */', 'float dy', 'k.cu: expected')])
def test_a_kernel_that_does_not_compile_or_has_other_arguments_gives_one_line(old, new, says, tmp_path, capsys):
    exercise, path = EXERCISES['tanh_backward_kernel'], tmp_path / 'k.cu'
    path.write_text(exercise.template(path).replace(old, new))
    assert main(['exercise', 'check', exercise.name, str(path)]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count('\n') == 1


@pytest.mark.skipif(not emulator.COMPILER, reason='no C++ compiler')
def test_a_kernel_is_read_as_utf_8(tmp_path, capsys):
    exercise, path = EXERCISES['tanh_backward_kernel'], tmp_path / 'k.cu'
    path.write_bytes(exercise.template(path).encode() + b'// \xff')
    assert main(['exercise', 'check', exercise.name, str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f'minigan: error: {path}: expected UTF-8, got the byte 0xff at ') and said.count('\n') == 1


def test_start_check_and_hints_as_a_student_types_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'dont_write_bytecode', False)
    assert main(['exercise', 'list']) == 0
    assert all(name in capsys.readouterr().out for name in list(EXERCISES)[:1])
    assert main(['exercise', 'start', 'tanh_backward']) == 0
    assert 'minigan exercise check tanh_backward' in capsys.readouterr().out
    file = tmp_path / 'exercises' / 'tanh_backward.py'
    assert main(['exercise', 'check', 'tanh_backward']) == 1
    out = capsys.readouterr().out
    assert 'wrong   comparison with the package' in out and 'returns None' in out and 'add --hint.' in out
    file.write_text(WRONG)
    idea, equation = EXERCISES['tanh_backward'].hints
    assert main(['exercise', 'check', 'tanh_backward', '--hint']) == 1
    out = capsys.readouterr().out
    assert idea in out and equation not in out and 'add --hint --hint.' in out
    assert main(['exercise', 'check', 'tanh_backward', '--hint', '--hint']) == 1
    out = capsys.readouterr().out
    assert idea in out and equation in out and 'add --hint' not in out
    file.write_text(TANH)
    assert main(['exercise', 'check', 'tanh_backward', '--hint']) == 0
    out = capsys.readouterr().out
    assert 'wrong' not in out and 'Correct.' in out and 'L_D falls from' in out and 'int:' not in out
    assert not (tmp_path / 'exercises' / '__pycache__').exists()
    assert main(['exercise', 'list']) == 0 and '* tanh_backward' in capsys.readouterr().out
    assert main(['exercise', 'solution', 'tanh_backward']) == 0
    assert capsys.readouterr().out.splitlines()[-1] == '    return dy * (1 - y**2)'


def test_what_a_student_prints_is_shown_for_the_first_check_alone(tmp_path, capsys):
    path = written(tmp_path, TANH.replace('return', 'print("here", dy.shape)\n    return'))
    assert main(['exercise', 'check', 'tanh_backward', str(path)]) == 0
    assert 1 <= capsys.readouterr().out.count('here (') <= 4


def test_start_never_overwrites(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, 'my work', 'mine.py')
    assert main(['exercise', 'start', 'dense', '-o', 'mine.py']) == 2
    assert (tmp_path / 'mine.py').read_text() == 'my work'
    assert capsys.readouterr().err.startswith('minigan: error: mine.py: is there already')
    (tmp_path / 'link.py').symlink_to('elsewhere.py')
    assert main(['exercise', 'start', 'dense', '-o', 'link.py']) == 2 and not (tmp_path / 'elsewhere.py').exists()
    assert capsys.readouterr().err.startswith('minigan: error: link.py: is there already')


@pytest.mark.parametrize('arguments', ['start dense', 'start dense -o exercises/d.py', 'check --all exercises'])
def test_a_file_in_place_of_a_folder_gives_one_line(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, '', 'exercises')
    assert main(['exercise', *arguments.split()]) == 2
    assert capsys.readouterr().err == 'minigan: error: exercises: expected a folder, got a file\n'


def test_start_makes_the_default_folder_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['exercise', 'start', 'dense', '-o', 'nowhere/d.py']) == 2
    assert capsys.readouterr().err == 'minigan: error: nowhere: no such folder\n' and not list(tmp_path.iterdir())
    assert main(['exercise', 'start', 'dense', '-o', 'exercises/d.py']) == 0 and Path('exercises/d.py').is_file()


def test_exercise_alone_shows_the_list(capsys):
    assert main(['exercise', '--debug']) == 0
    alone = capsys.readouterr().out
    assert main(['exercise', 'list']) == 0 and capsys.readouterr().out == alone and 'Game.alternating' in alone


def test_a_name_may_lack_its_class_and_may_be_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert catalogue.find('update_D') is EXERCISES['Game.update_D']
    path = written(tmp_path, TANH)
    assert main(['exercise', 'check', str(path)]) == 0 and 'Correct.' in capsys.readouterr().out
    assert main(['exercise', 'start', 'update_D']) == 0 and Path('exercises/Game.update_D.py').is_file()
    assert main(['exercise', 'check', 'exercises/Game.update_D.py']) == 1
    capsys.readouterr()
    assert main(['exercise', 'check', 'tanh_backwards']) == 2
    assert capsys.readouterr().err.endswith('got tanh_backwards; did you mean tanh_backward?\n')


def test_words_come_first_and_a_long_note_is_wrapped_not_cut(tmp_path, monkeypatch, capsys):
    path = written(tmp_path, TANH.replace('dy * (1 - y**2)', 'dy / len(dy) * (1 - y**2)'))
    assert main(['exercise', 'check', 'tanh_backward', str(path)]) == 1
    out = capsys.readouterr().out
    assert out.index('dx is 1/m of what it should be') < out.index('wrong   comparison') and 'got / expected' not in out
    line = str(Line('gradient check', False, 'because ' * 30 + 'of 2.19835'))
    assert 'of 2.19835)' in line and len(line.splitlines()) == 3 and max(map(len, line.splitlines())) <= 110


def test_what_an_infinite_loop_prevents_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(Exercise, 'seconds', 0.5)
    path = written(tmp_path, TANH.replace('return', 'while len(dy) == 7:\n        pass\n    return'))
    assert [line.ok for line in check(EXERCISES['tanh_backward'], path).lines] == [False, None, None, None]
    trials.prepare()
    path.write_text(TANH.replace('return', 'while len(dy) != 7:\n        pass\n    return'))
    assert [line.ok for line in check(EXERCISES['tanh_backward'], path).lines] == [True, False, None, None]


@pytest.mark.parametrize('arguments', ['start nope', 'check nope', 'solution nope', 'check', 'check dense --all',
                                       'check --json', 'check dense --json', 'check --all --hint',
                                       'check dense .'])
def test_bad_arguments_give_one_line_and_exit_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['exercise', *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(('minigan: error: exercise', 'minigan: error: .: expected a file, got a folder'))
    assert 'expected' in error and error.count('\n') == 1


def test_an_empty_name_is_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['exercise', 'start', 'dense', '-o', '']) == 2 and not list(tmp_path.iterdir())
    assert main(['exercise', 'check', 'dense', '']) == 2
    assert main(['exercise', 'check', '--all', '']) == 1
    assert capsys.readouterr().out.endswith('0 of 17 are correct, 17 are missing.\n')


def test_check_all_reports_on_a_student_who_ends_the_program(tmp_path, capsys):
    written(tmp_path, TANH.replace('return', 'if len(dy) != 7:\n        exit(0)\n    return'))
    assert main(['exercise', 'check', '--all', str(tmp_path), '--json']) == 1
    entry = json.loads(capsys.readouterr().out)[1]
    assert not entry['passed'] and 'SystemExit' in ' '.join(entry['words'])


def test_check_all_as_a_lecturer_types_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, f'print("noise")\n{WRONG}')
    assert main(['exercise', 'check', '--all', '.', '--json']) == 1
    printed = capsys.readouterr()
    entries = json.loads(printed.out)
    assert [entry['name'] for entry in entries] == list(EXERCISES) and 'noise' in printed.err
    entry = entries[1]
    assert entry['words'] == ['dx: the square of the output has the wrong sign: the term -dy * y^2 has the coefficient '
                              '-1, expected 1.', entry['words'][1]]
    assert {**entry, 'words': 0} == {'name': 'tanh_backward', 'difficulty': 1, 'passed': False, 'missing': False,
                                     'words': 0}
    assert main(['exercise', 'check', '--all', '.']) == 1
    out = capsys.readouterr().out
    assert 'wrong   tanh_backward' in out and out.endswith('\n0 of 17 are correct, 16 are missing.\n')
    written(tmp_path, TANH)
    assert main(['exercise', 'check', '--all', '.']) == 1
    assert capsys.readouterr().out.endswith('\n1 of 17 is correct, 16 are missing.\n')
    assert main(['exercise', 'check', '--all', 'nowhere']) == 2
    assert capsys.readouterr().err == 'minigan: error: nowhere: no such folder\n'


def test_the_command_line_starts_without_the_exercises():
    program = ('import sys, minigan.cli.options as o; o.parser(); '
               'print([name for name in sys.modules if name.startswith("minigan.study")])')
    assert subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout == '[]\n'


def test_the_numbers_of_training_are_those_of_the_package():
    steps, L_D = trials.play()
    again, _ = trials.expected('float64')
    assert all(np.array_equal(step[name], other[name]) for step, other in zip(steps, again) for name in step)
    assert L_D[-1] < L_D[0] - 0.1
