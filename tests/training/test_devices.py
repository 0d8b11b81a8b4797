"""`--device cpu` and `auto` take kernels compiled for the CPU if they can, `numpy` does not; the bits are equal."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigan import RECIPES, backend, data
from minigan.cli import main
from minigan.gpu import fusion
from minigan.gpu.device import CPU
from minigan.native import library
from minigan.native.twins import Native, native, use
from minigan.training import Config, build_game, resume, train
from minigan.training.on_gpu import choose_device


@pytest.fixture
def compiled():
    """The native twins; skips a test where no compiler is."""
    found = native()
    if not isinstance(found, Native):
        assert found.startswith('no C++ compiler'), found
        pytest.skip(found)
    return found


@pytest.mark.parametrize('name', ['cpu', 'auto'])
def test_a_cpu_takes_compiled_kernels(compiled, name):
    assert choose_device(name, None) == (np, CPU)
    assert backend.TWINS['numpy'](np) is compiled


def test_numpy_does_not_and_the_last_choice_counts(compiled):
    for name, wanted in (('numpy', False), ('cpu', True), ('numpy', False), ('auto', True), ('numpy', False)):
        assert choose_device(name, None) == (np, CPU)
        assert ('numpy' in backend.TWINS) == wanted


def test_without_a_compiler_a_cpu_is_numpy_and_says_no_more(monkeypatch, tmp_path):
    monkeypatch.setattr(library, 'COMPILERS', ())
    native.cache_clear()
    try:
        assert choose_device('cpu', None) == (np, CPU) and 'numpy' not in backend.TWINS
        assert use(True).startswith('no C++ compiler')
    finally:
        native.cache_clear()


def test_numpy_alone_needs_no_compiler_and_builds_nothing(monkeypatch):
    monkeypatch.setattr('minigan.native.twins.native', None)
    assert choose_device('numpy', None) == (np, CPU)


def game():
    recipe, dataset = RECIPES['default'], data.load('digits')
    return build_game(Config().resolve(recipe, dataset), recipe, dataset)


def test_layers_are_fused_only_where_kernels_run(compiled):
    groups = tuple(set(fusion.GROUPS.values()))
    for name, fused in (('numpy', False), ('cpu', True)):
        choose_device(name, None)
        players = game()
        for net in (players.G, players.D):
            assert any(isinstance(layer, groups) for layer in net.layers_in_training) == fused


def test_a_game_built_on_one_goes_on_without_the_kernels(compiled):
    """The groups compute what their specifications say."""
    choose_device('cpu', None)
    moving, staying = game(), game()
    for t in range(6):
        choose_device('numpy' if t % 2 else 'cpu', None)
        moving.step(t)
    choose_device('cpu', None)
    for t in range(6):
        staying.step(t)
    assert moving.G.theta.tobytes() == staying.G.theta.tobytes()
    assert moving.D.theta.tobytes() == staying.D.theta.tobytes()


@pytest.mark.parametrize('name', ['cpu', 'numpy'])
def test_a_run_notes_the_device_that_was_chosen(name, tmp_path, capsys):
    train(Config(epochs=1, batch=359, device=name, out=str(tmp_path / 'run')))
    about = json.loads((tmp_path / 'run' / 'config.json').read_text())
    assert about['config']['device'] == name and about['device'] == CPU
    assert 'minigan: ' not in capsys.readouterr().err
    resume(tmp_path / 'run', epochs=2, device='numpy' if name == 'cpu' else 'cpu')
    assert 'moved' not in capsys.readouterr().err


def test_a_tensor_of_float64_never_meets_a_kernel(compiled):
    use(True)
    assert backend.has_kernels(np.empty(0, np.float32)) and not backend.has_kernels(np.empty(0))


def test_the_help_names_every_device(capsys):
    with pytest.raises(SystemExit):
        main(['train', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    text = text[text.rindex(' --device '):]
    text = text[:text.index(' --samples-every ')]
    assert '{cpu,numpy,cuda,auto}' in text and 'default: auto' in text
    assert all(f"('{name}')" in text for name in ('cpu', 'numpy', 'cuda', 'auto'))


def test_a_test_that_trains_leaves_no_twins_behind(tmp_path):
    """conftest.py restores backend.TWINS: the first test here would change what the second one computes with."""
    (tmp_path / 'test_two.py').write_text(
        'from minigan import backend\nfrom minigan.native.twins import use\n'
        'def test_one():\n    use(True)\n    backend.TWINS["x"] = None\n'
        'def test_two():\n    assert set(backend.TWINS) <= {"cupy"}\n')
    (tmp_path / 'conftest.py').write_text((Path(__file__).parents[1] / 'conftest.py').read_text())
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist',
                           '--rootdir', tmp_path, tmp_path / 'test_two.py'],
                          cwd=tmp_path, capture_output=True, text=True)
    assert '2 passed' in done.stdout, done.stdout
