"""A run that was stopped, killed or short of disk space goes on as if nothing had happened, to the last bit."""

import contextlib
import csv
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from minigan.storage import archive, files
from minigan.storage.files import locked
from minigan.training import Config, inspection, resume, train
from minigan.training.signals import Stopped, signals_received
from minigan.training.state import Run

KILLS = settings.default.max_examples // 8  # 5; thorough: 50


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def small(**choices):
    # 11 steps per epoch; with a constant rate, the first half of a run equals a run of half the length
    return Config(**{'epochs': 4, 'batch': 128, 'schedule': 'constant', 'seed': 5, 'out': 'run', **choices})


def content(folder, name='last.npz'):
    """All that must be the same, as bytes: everything but the seconds."""
    arrays, _ = archive.load(Path(folder) / name)
    del arrays['run.seconds']
    arrays['run.log'] = arrays['run.log'][:, :-1]
    return {name: array.tobytes() for name, array in arrays.items()}


def log(folder):
    with open(Path(folder) / 'log.csv', newline='') as file:
        return [{**row, 'seconds': ''} for row in csv.DictReader(file)]


def assert_same_run(folder, whole):
    assert content(folder) == content(whole) and content(folder, 'best.npz') == content(whole, 'best.npz')
    assert log(folder) == log(whole) and len(log(whole)) == 4
    pictures = [Path('samples') / f'epoch-{epoch:04}.png' for epoch in (1, 2, 3, 4)] + ['losses.png']
    for name in pictures:
        assert (Path(folder) / name).read_bytes() == (Path(whole) / name).read_bytes()
    assert not list(Path(folder).rglob('*.unfinished'))


def stop_after(monkeypatch, *steps):
    """Send this process SIGTERM when these steps are done."""
    step = Run.step

    def step_and_stop(self):
        logits = step(self)
        if self.t in steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return logits
    monkeypatch.setattr(Run, 'step', step_and_stop)


@pytest.mark.parametrize('choices', [{}, {'network': 'article'}, {'k': 2, 'objective': 'minimax'},
                                     {'network': 'goodfellow2014'}, {'average': 0}, {'network': 'feature-matching'},
                                     {'network': 'dcgan', 'input_noise': 0.0},
                                     {'network': 'semisupervised', 'labelled': 20}])
def test_two_halves_of_a_run_equal_the_whole(choices):
    train(small(out='whole', **choices), quiet=True)
    train(small(epochs=2, samples_every=1, **choices), quiet=True)
    resume('run', epochs=4, quiet=True)
    assert_same_run('run', 'whole')


@pytest.mark.parametrize('steps', [(5,), (11,), (1, 2, 16, 33, 43, 44)])
def test_a_run_stopped_within_an_epoch_or_at_its_end_goes_on(monkeypatch, steps):
    choices = {'schedule': 'linear', 'input_noise': 0.3, 'clip_norm': 1.0}
    train(small(out='whole', **choices), quiet=True)
    stop_after(monkeypatch, *steps)
    with pytest.raises(Stopped, match='stopped by SIGTERM'):
        train(small(**choices), quiet=True)
    for t in steps:
        assert archive.load('run')[0]['run.t'] == t
        try:
            resume('run', quiet=True)
        except Stopped:
            pass
    assert_same_run('run', 'whole')


def test_a_complete_run_stays_as_it_is():
    train(small(), quiet=True)
    before = content('run')
    assert resume('run', quiet=True) == Path('run') and content('run') == before


def test_a_run_goes_on_from_another_folder_and_under_another_name(monkeypatch, tmp_path):
    np.save('images.npy', np.random.default_rng(0).integers(0, 256, (256, 5, 5), dtype=np.uint8))
    train(small(data='images.npy', out='whole'), quiet=True)
    train(small(data='images.npy', epochs=2), quiet=True)
    shutil.move('run', 'moved')
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    resume('../moved', epochs=4, quiet=True)
    assert content('../moved') == content('../whole')
    shutil.move('../images.npy', 'other.npy')
    with pytest.raises(ValueError, match='images.npy.* does not exist'):
        resume('../moved', epochs=5, quiet=True)
    resume('../moved', epochs=5, data='other.npy', quiet=True)


def test_a_folder_named_digits_is_not_the_digits():
    Path('digits').mkdir()
    train(small(epochs=1), quiet=True)
    resume('run', epochs=2, quiet=True)
    assert archive.load('run')[1]['config']['data'] == 'digits'


def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path):
    np.save('other.npy', np.zeros((200, 8, 8), np.uint8))
    train(small(), quiet=True)
    before = {path: path.read_bytes() for path in Path('run').rglob('*') if path.is_file()}
    for changes, message in (({'data': 'other.npy'}, 'other.npy: not the images that this run was trained with'),
                             ({'epochs': 3}, 'epochs: expected at least 4, which the run has begun, got 3'),
                             ({'device': 'tpu'}, 'device: expected'), ({'save_every': -1.0}, 'save_every: expected')):
        with pytest.raises(ValueError, match=message):
            resume('run', quiet=True, **changes)
    assert {path: path.read_bytes() for path in Path('run').rglob('*') if path.is_file()} == before
    with pytest.raises(ValueError, match='nowhere: no such folder'):
        resume('nowhere', quiet=True)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='empty: not the folder of a run: it has no last.npz'):
        resume('empty', quiet=True)


@pytest.mark.parametrize('changes, message', [
    ({'config': None}, 'expected the config of a run'),
    ({'config': {'network': 'vgg'}}, "last.npz: network: expected one of article.* got 'vgg'"),
    ({'config': {'rm': '-rf'}}, 'expected the config of a run .*rm'),
    ({'images': 7}, 'last.npz: expected a network of'),
    ({'config': {'batch': 'many'}}, "last.npz: batch: expected int, got 'many'"),
    ({'config': {'n_z': 10**9}}, 'G.theta: expected an array of shape'),
    ({'arrays': {'G.t': np.array(-11)}}, r'expected optimisers and a log of step 11, got \[-11, 11\]'),
    ({'arrays': {'D.t': np.array(2**60)}}, 'expected optimisers and a log of step 11'),
    ({'arrays': {'run.log': np.full((1, 17), 1e300)}}, r'of step 11, got \[11, 11\] and \[1e\+300\]'),
    ({'arrays': {'run.log': np.array(1.0)}}, 'run.log: expected an array'),
    ({'arrays': {'run.t': np.array(-11)}}, 'run.log: expected an array of shape'),
    ({'arrays': {'run.t': np.array(2**60)}}, 'run.log: expected an array of shape'),
    ({'arrays': {'run.norms': np.zeros(3)}}, 'run.norms: expected an array'),
    ({'arrays': {'run.log': np.full((1, 17), np.nan)}}, 'run.log: expected finite numbers')])
def test_a_checkpoint_that_tells_lies_is_refused(changes, message):
    train(small(epochs=1), quiet=True)
    arrays, about = archive.load('run')
    arrays.update(changes.pop('arrays', {}))
    if isinstance(changes.get('config'), dict):
        changes['config'] = {**about['config'], **changes['config']}
    archive.save('run/last.npz', arrays, {**about, **changes})
    before = {path: path.read_bytes() for path in Path('run').rglob('*') if path.is_file()}
    with pytest.raises(ValueError, match=message):
        resume('run', quiet=True)
    assert {path: path.read_bytes() for path in Path('run').rglob('*') if path.is_file()} == before


@pytest.mark.parametrize('changes', [{'seed': 5}, {'learning_rate_G': 0.5, 'objective': 'minimax'}, {'out': 'there'}])
def test_choices_that_the_run_has_fixed_may_not_change(changes):
    train(small(epochs=1), quiet=True)
    before = content('run')
    flags = ', '.join(f'--{name.replace("_", "-")}' for name in changes)
    with pytest.raises(ValueError, match=f'--resume: (--objective, )?{flags.split(",")[0]}(, --objective)? (is|are) '
                                         'fixed by the run; only --data, --cycle, --epochs, --device, '):
        resume('run', epochs=2, quiet=True, **changes)
    with pytest.raises(TypeError):
        resume('run', quiet=True, epoch=2)
    assert content('run') == before


@pytest.mark.parametrize('choices, what', [({'schedule': 'linear'}, '--schedule linear'),
                                           ({'input_noise': 0.1}, '--input-noise'), ({}, None)])
def test_a_schedule_or_noise_that_ends_with_the_run_warns_when_the_run_ends_later(capsys, choices, what):
    train(small(epochs=1, **choices), quiet=True)
    for epochs, told in ((1, False), (2, bool(what)), (2, False)):
        resume('run', epochs=epochs)
        said = capsys.readouterr().err
        assert (f'warning: {what} ends with the run. With 2 epochs instead of 1 ' in said) == told
        assert told or 'warning' not in said


def test_missing_data_or_a_missing_device_is_refused_with_a_remedy(monkeypatch):
    np.save('images.npy', np.random.default_rng(0).integers(0, 256, (256, 5, 5), dtype=np.uint8))
    train(small(data='images.npy', epochs=1), quiet=True)
    os.rename('images.npy', 'moved.npy')
    with pytest.raises(ValueError, match='images.npy.* does not exist; if the images have moved, pass --data PATH'):
        resume('run', quiet=True)
    arrays, about = archive.load('run')
    archive.save('run/last.npz', arrays, {**about, 'config': {**about['config'], 'device': 'cuda'}})
    monkeypatch.setitem(sys.modules, 'cupy', None)
    with pytest.raises(ValueError, match="device 'cuda': .*; to go on without a GPU: --device cpu"):
        resume('run', data='moved.npy', quiet=True)
    resume('run', data='moved.npy', device='cpu', quiet=True)


@pytest.mark.parametrize('name, choices', [('samples', {}), ('tensorboard', {'tensorboard': True})])
def test_a_link_in_a_run_of_somebody_else_is_not_followed(tmp_path, name, choices):
    if choices:
        pytest.importorskip('tensorboard', reason="pip install -e '.[test]'")
    train(small(epochs=1), quiet=True)
    shutil.rmtree(f'run/{name}', ignore_errors=True)
    Path('mine').mkdir()
    Path('mine/real.png').write_text('precious')
    os.symlink('../mine', f'run/{name}')
    with pytest.raises(ValueError, match=f'run/{name}: expected a folder, got a link'):
        resume('run', epochs=2, quiet=True, **choices)
    assert [path.read_text() for path in Path('mine').iterdir()] == ['precious']


def test_only_what_minigan_left_unfinished_is_deleted():
    train(small(epochs=1), quiet=True)
    mine = [Path('run/novel.unfinished'), Path('run/thesis.1.unfinished'), Path('run/notes/last.npz.1.unfinished')]
    left = [Path('run/last.npz.7.unfinished'), Path('run/log.csv.7.unfinished'),
            Path('run/samples/epoch-0003.png.7.unfinished')]
    Path('run/notes').mkdir()
    for path in (*mine, *left):
        path.write_text('half')
    resume('run', epochs=2, quiet=True)
    assert all(path.exists() for path in mine) and not any(path.exists() for path in left)


def test_a_log_with_made_up_epochs_is_no_reason_for_a_traceback():
    train(small(epochs=2), quiet=True)
    arrays, about = archive.load('run')
    odd = np.array(arrays['run.log'])
    odd[:, 0] = 1e9
    archive.save('run/last.npz', {**arrays, 'run.log': odd}, about)
    assert 'step 22' in inspection.describe('run')
    resume('run', epochs=3, quiet=True)


def test_two_processes_do_not_train_the_same_run():
    train(small(epochs=1), quiet=True)
    with locked('run'):
        with pytest.raises(ValueError, match='another process is at work in this folder'):
            resume('run', quiet=True)


def run_quietly(**choices):
    """In a process of its own: train, or go on where there is a checkpoint."""
    if Path('run/last.npz').exists():
        resume('run', quiet=True)
    else:
        train(small(save_every=0.0, **choices), quiet=True)


@pytest.mark.parametrize('network, kills', [('default', KILLS), ('dcgan', KILLS // 5)])
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(network, kills):
    """A checkpoint after each step, so that most of the time goes into writing. `-s` shows where it was killed."""
    train(small(out='whole', network=network), quiet=True)
    spawn = multiprocessing.get_context('forkserver')
    spawn.set_forkserver_preload(['minigan.training', 'minigan.evaluation.judge', 'minigan.pictures.curves', __name__])
    for _ in range(2):  # the first one also waits for the imports
        shutil.rmtree('run', ignore_errors=True)
        started = time.monotonic()
        one = spawn.Process(target=run_quietly, kwargs={'network': network})
        one.start()
        one.join()
        assert one.exitcode == 0
        assert_same_run('run', 'whole')
    duration, rng, stood = time.monotonic() - started, np.random.default_rng(0), []
    for _ in range(kills):
        shutil.rmtree('run')
        one = spawn.Process(target=run_quietly, kwargs={'network': network})
        one.start()
        time.sleep(rng.uniform(0, duration))
        one.kill()
        one.join()
        unfinished = sorted(path.name for path in Path('run').rglob('*.unfinished'))
        if Path('run/last.npz').exists():
            assert 'step' in inspection.describe('run')
            stood.append((int(archive.load('run')[0]['run.t']), *unfinished))
            assert len(log('run')) <= 4
        else:
            stood.append(('before the first checkpoint', *unfinished))
        one = spawn.Process(target=run_quietly, kwargs={'network': network})
        one.start()
        one.join()
        assert one.exitcode == 0
        assert_same_run('run', 'whole')
    print(f'\n{kills} kills in {duration:.1f} s, at step: {stood}')


@contextlib.contextmanager
def minigan(*arguments):
    """The command in a process of its own, which does not outlive a failed test."""
    with subprocess.Popen([sys.executable, '-m', 'minigan', *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


@pytest.mark.skipif(os.name != 'posix', reason='signals as POSIX has them')
@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_its_step_and_says_how_to_go_on(number, code):
    with minigan('train', '--epochs', '4000', '--seed', '5', '--batch', '128', '--schedule', 'constant',
                 '-o', 'run') as run:
        while not Path('run/samples/epoch-0001.png').exists():
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(number)
        output, error = run.communicate(timeout=60)
    assert run.returncode == code
    assert error.splitlines()[-1] == f'minigan: stopped by {number.name}; to go on: minigan train --resume run'
    t = int(archive.load('run')[0]['run.t'])
    epochs = t // 11 + 1
    with minigan('train', '--resume', 'run', '--epochs', str(epochs)) as run:
        _, error = run.communicate(timeout=60)
    assert run.returncode == 0, error
    train(small(out='whole', epochs=epochs), quiet=True)
    assert content('run') == content('whole')


def test_a_second_signal_ends_the_run_at_once_and_other_threads_handle_no_signals():
    with pytest.raises(KeyboardInterrupt):
        with signals_received() as received:
            signal.raise_signal(signal.SIGINT)
            assert received == [signal.SIGINT]
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
    try:
        with signals_received() as received:
            signal.raise_signal(signal.SIGINT)
        assert received == [] and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    failed = []

    def elsewhere():
        try:
            train(small(epochs=1), quiet=True)
        except Exception as error:
            failed.append(error)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not failed and Path('run/last.npz').exists()


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no /dev/full')
@pytest.mark.parametrize('name', ['last.npz', 'best.npz', 'log.csv', 'samples/epoch-0003.png'])
def test_a_disk_that_is_full_ends_the_run_and_the_checkpoint_stays(capsys, monkeypatch, name):
    from minigan.cli import main
    train(small(out='whole'), quiet=True)
    train(small(epochs=2, samples_every=1), quiet=True)
    before = content('run')
    full = f'{name}.{os.getpid()}.unfinished'
    monkeypatch.setattr(files, 'open', raising=False, value=lambda path, mode, **options: (
        open('/dev/full', 'w' + mode[1:], **options) if str(path).endswith(full) else open(path, mode, **options)))
    assert main(['train', '--resume', 'run', '--epochs', '4', '--save-every', '0']) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert 'No space left on device' in error and name in error
    assert error.endswith(f'Step {archive.load("run")[0]["run.t"]} is safe; to go on: minigan train --resume run')
    monkeypatch.delattr(files, 'open')
    if name == 'last.npz':
        assert content('run') == before
    resume('run', epochs=4, quiet=True)
    assert_same_run('run', 'whole')


def mount(folder, size):
    """What to put before a command so that a small disk is mounted at the folder; None where that is not allowed."""
    begin = ['unshare', '--mount', *(['--map-root-user'] if os.getuid() else []), 'sh', '-c',
             f'mount -t tmpfs -o size={size} tmpfs "{folder}" && exec "$@"', 'sh']
    allowed = shutil.which('unshare') and subprocess.run([*begin, 'true'], capture_output=True).returncode == 0
    return begin if allowed else None


@pytest.mark.skipif(os.name != 'posix', reason='needs a tmpfs')
def test_a_run_on_a_disk_too_small_for_it_keeps_its_checkpoint(tmp_path):
    (tmp_path / 'disk').mkdir()
    begin = mount(tmp_path / 'disk', '10m')  # three checkpoints (last, best, one being written) take 10.9 MB
    if begin is None:
        pytest.skip('not allowed to mount a tmpfs; the tests with /dev/full stand in')
    program = f'{sys.executable} -m minigan train --epochs 4 --batch 128 --schedule constant --seed 5 ' \
              '--save-every 0 -o disk/run; echo "code $?"; ls disk/run; cp -r disk/run saved'
    result = subprocess.run([*begin, 'sh', '-c', program], capture_output=True, text=True)
    assert 'code 2\n' in result.stdout
    assert 'No space left on device' in result.stderr and 'Traceback' not in result.stderr
    assert 'is safe; to go on: minigan train --resume disk/run' in result.stderr
    assert 'unfinished' not in result.stdout
    train(small(out='whole'), quiet=True)
    resume('saved', quiet=True)
    assert content('saved') == content('whole')


MEASURE = '''
import json, os, sys
from minigan.training import Config, train
from minigan.training.folder import RunFolder
seen, add_epoch = [], RunFolder.add_epoch
def add_and_measure(self, run):
    add_epoch(self, run)
    pages = int(open('/proc/self/statm').read().split()[1])
    seen.append((run.t, pages * os.sysconf('SC_PAGESIZE') / 1e6, len(os.listdir('/proc/self/fd'))))
RunFolder.add_epoch = add_and_measure
config = Config(epochs=int(sys.argv[1]), samples_every=1, save_every=1.0, tensorboard=True, out='run')
train(config, quiet=True)
print(json.dumps(seen))
'''


@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='reads /proc')
def test_a_long_run_needs_no_more_memory_and_no_more_files():
    """1,000 steps, with a picture per epoch and a checkpoint per second; thorough: 20,000. `-s` shows the numbers."""
    epochs = 23 if KILLS < 50 else 455
    result = subprocess.run([sys.executable, '-c', MEASURE, str(epochs)], capture_output=True, text=True, check=True)
    seen = np.array(json.loads(result.stdout))
    tenth = max(1, epochs // 20)
    first, last = seen[tenth:2 * tenth + 1].mean(axis=0), seen[-tenth - 1:].mean(axis=0)
    print(f'\nstep {first[0]:.0f}: {first[1]:.1f} MB, {first[2]:.0f} files; step {last[0]:.0f}: {last[1]:.1f} MB, '
          f'{last[2]:.0f} files')
    assert last[1] < first[1] + 8 and last[2] == first[2]


def test_a_run_that_is_over_says_how_to_train_more(capsys):
    train(small(out='run'), quiet=True)
    resume('run')
    assert 'this run has all of its' in capsys.readouterr().err
