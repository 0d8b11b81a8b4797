"""The log and the pictures of a run for TensorBoard, written by its own package."""

import io
import time
from contextlib import contextmanager
from importlib.util import find_spec

from minigan.training.log import COLUMNS


class TensorBoard:
    """Scalars and pictures, step by step. What the folder holds for later steps is dropped.

    Raises ValueError when the package cannot be imported, OSError when the folder cannot be written.
    """

    def __init__(self, folder, step):
        writer, self._proto = import_tensorboard()
        self._folder = folder
        with self._naming_the_folder():
            self._writer = writer(str(folder))
            start = self._proto.event_pb2.SessionLog(status=self._proto.event_pb2.SessionLog.START)
            self._writer.add_event(self._event(step + 1, session_log=start))

    def scalars(self, row):
        """A row of the log."""
        self._add(row['step'], [{'tag': name, 'simple_value': row[name]} for name in COLUMNS[2:]])

    def picture(self, grid, step):
        """A PIL image."""
        file = io.BytesIO()
        grid.save(file, 'PNG')
        image = {'width': grid.width, 'height': grid.height, 'colorspace': len(grid.getbands()),
                 'encoded_image_string': file.getvalue()}
        self._add(step, [{'tag': 'samples', 'image': image}])

    def close(self):
        """Write what waits and let go of the file."""
        with self._naming_the_folder():
            self._writer.close()

    def _add(self, step, values):
        with self._naming_the_folder():
            self._writer.add_event(self._event(step, summary=self._proto.summary_pb2.Summary(value=values)))
            self._writer.flush()

    def _event(self, step, **content):
        return self._proto.event_pb2.Event(wall_time=time.time(), step=step, **content)

    @contextmanager
    def _naming_the_folder(self):
        """Within, whatever the package raises (TensorFlow's own errors, if that is installed) becomes an OSError."""
        try:
            yield
        except Exception as error:
            raise OSError(f'{self._folder}: {type(error).__name__}: {error}') from error


def import_tensorboard():
    """TensorBoard's writer and its messages. Raises ValueError when the package cannot be imported."""
    try:
        from tensorboard.compat import proto
        from tensorboard.compat.proto import event_pb2, summary_pb2  # noqa: F401: makes them attributes of proto
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except Exception as error:  # one that does not fit its protobuf or NumPy raises TypeError, AttributeError, ...
        if find_spec('tensorboard') is None:
            raise ValueError("tensorboard: the package is not installed; pip install -e '.[tensorboard]'") from error
        raise ValueError('tensorboard: the package is installed but cannot be imported '
                         f'({type(error).__name__}: {error})') from error
    return EventFileWriter, proto
