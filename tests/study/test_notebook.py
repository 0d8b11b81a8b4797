"""The notebook runs from top to bottom, shows its runs in place, and its numbers are those that its text expects."""

import base64
import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')
from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402: nbclient needs it
from jupyter_client.manager import AsyncKernelManager  # noqa: E402

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / 'minigan' / 'study' / 'watching.ipynb'
PICTURE = 1040, 320


class Client(nbclient.NotebookClient):
    """Executes a notebook, and keeps what it shows: the messages of each cell, in order."""

    def process_message(self, msg, cell, cell_index):
        self.messages = getattr(self, 'messages', {})
        self.messages.setdefault(cell['id'], []).append((msg['msg_type'], msg['content']))
        return super().process_message(msg, cell, cell_index)


def execute(cells, folder):
    """The messages of each cell of a notebook, by id: this Python's kernel executes it, and all that it leaves is in
    the folder. Raises CellExecutionError."""
    manager = AsyncKernelManager(kernel_name='python3', kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    assert manager.kernel_spec.argv[0] == sys.executable  # no kernel that the user has installed
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = Client(notebook, km=manager, timeout=120, resources={'metadata': {'path': str(folder)}})
    path = os.pathsep.join([str(ROOT), *sys.path])
    with pytest.MonkeyPatch.context() as patch:
        for name in ('JUPYTER_RUNTIME_DIR', 'IPYTHONDIR', 'MPLCONFIGDIR', 'TMPDIR'):
            (folder / name).mkdir()
            patch.setenv(name, str(folder / name))
        client.execute(env={**os.environ, 'PYTHONPATH': path}, cleanup_kc=True)
    assert not manager.has_kernel
    return client.messages


@pytest.fixture(scope='module')
def cells():
    return nbformat.read(NOTEBOOK, as_version=4).cells


@pytest.fixture(scope='module')
def shown(cells, tmp_path_factory):
    return execute(cells, tmp_path_factory.mktemp('notebook'))


def text(messages):
    """What a cell has printed, and the text of the value that it ends with."""
    return ''.join(content['text'] if kind == 'stream' and content['name'] == 'stdout' else
                   content['data']['text/plain'] if kind == 'execute_result' else '' for kind, content in messages)


def pictures(messages, kind):
    """The pictures in the messages of a kind, as arrays."""
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content['data']['image/png']))).convert('RGB'))
            for name, content in messages if name == kind and 'image/png' in content['data']]


def numbers(text):
    return [float(number) for number in re.findall(r'-?\d+\.\d+', text)]


def test_it_is_committed_without_outputs(cells):
    assert all(not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == 'code')


@pytest.mark.parametrize('cell', ['train', 'train-swish'])
def test_a_run_is_shown_in_one_display_that_is_renewed(cell, shown):
    first, = pictures(shown[cell], 'display_data')
    *_, last = pictures(shown[cell], 'update_display_data')
    assert first.shape == last.shape == (*PICTURE[::-1], 3) and not np.array_equal(first, last)
    words = [content['data']['text/plain'] for kind, content in shown[cell] if kind.endswith('display_data')]
    assert words[0].startswith('Epoch 1 of 10') and words[-1].startswith('Epoch 10 of 10')
    handles = {content['transient']['display_id'] for kind, content in shown[cell] if kind.endswith('display_data')}
    assert len(handles) == 1


def test_v_hardly_moves_while_the_distance_falls(shown):
    V, V_at_the_end, distance, distance_at_the_end = numbers(text(shown['train']))
    assert abs(V_at_the_end - V) < 0.2
    assert distance_at_the_end < distance / 2
    words = [content['data']['text/plain'] for kind, content in shown['train'] if kind == 'update_display_data'][-1]
    assert f'{V_at_the_end:.2f} on validation images' in words


def test_the_two_backward_passes_of_d_need_what_the_text_says(shown):
    lines = text(shown['record']).splitlines()
    assert lines[0] == '# for k steps do' and sum('update D by ascending' in line for line in lines) == 1
    _, first, _, second = (line for line in lines if line.lstrip().startswith('D 1 Dense(1 -> 32)'))
    assert re.search(r'\(512, 32\) -> none .* W \S+ b \S+$', first)
    assert re.search(r'\(256, 32\) -> \(256, 1\) +\S+ +\S+$', second)


def test_the_samples_are_pushed_to_the_data_and_stay_there(shown):
    lines = {int(re.search(r'\d+', line)[0]): line for line in text(shown['watch']).splitlines()}
    assert list(lines) == [10, 100, 300, 3000]
    means, spreads, sums = zip(*(numbers(line) for line in lines.values()))
    assert all('100% of them negative' in lines[t] for t in (100, 300)) and max(sums[1:3]) < -0.5
    assert means[0] < means[1] < means[2] and abs(means[0]) < 0.5 and abs(sums[-1]) < 0.1
    assert means[-1] == pytest.approx(2, abs=0.15) and spreads[-1] == pytest.approx(0.5, abs=0.15)


def test_gradcheck_finds_the_mistake_and_accepts_the_correction(shown):
    html = {cell: next(content['data']['text/html'] for kind, content in shown[cell] if kind == 'execute_result')
            for cell in ('swish', 'corrected')}
    wrong, = re.findall(r'<tr>((?:(?!</tr>).)*WRONG.*?)</tr>', html['swish'])
    assert wrong.startswith('<td>1.Swish.a</td>')
    assert 'WRONG' not in html['corrected'] and html['corrected'].count('<td>ok</td>') == 2


def test_both_runs_are_in_one_picture(shown):
    picture, = pictures(shown['compared'], 'execute_result')
    assert picture.shape == (*PICTURE[::-1], 3)
    first, second = ((picture == color).all(axis=2).sum() for color in ((31, 119, 180), (255, 127, 14)))
    assert first > 200 and second > 200  # matplotlib's first two colours: a curve each, in each of three panels


def test_arrays_can_be_taken_out_of_a_run_with_a_layer_of_ones_own(shown):
    assert text(shown['taken-out']) == (
        'images (16, 8, 8) from 0.0 to 1.0\nparameters of G (191040,) of the first Dense (100, 256)\n')
