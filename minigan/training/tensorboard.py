"""The log and the pictures of a run in a file that TensorBoard reads."""

import io
import os
import time
from importlib.util import find_spec
from pathlib import Path

from minigan.storage.files import append
from minigan.training.log import COLUMNS


class TensorBoard:
    """Writes scalars and pictures, step by step. TensorBoard drops what older files in the folder hold for later steps.

    The package's own EventFileWriter would write in a thread, whose errors nobody could catch.
    Raises ValueError when the package cannot be imported, OSError when the folder cannot be written.
    """

    def __init__(self, folder, step):
        self._writer, self._proto = import_tensorboard()
        self._path = Path(folder) / f'events.out.tfevents.{time.time():.6f}.{os.getpid()}'
        self._add(0, file_version='brain.Event:2')
        start = self._proto.event_pb2.SessionLog.START
        self._add(step + 1, session_log=self._proto.event_pb2.SessionLog(status=start))

    def scalars(self, row):
        """Write a row of the log."""
        self._summary(row['step'], [{'tag': name, 'simple_value': row[name]} for name in COLUMNS[2:]])

    def picture(self, grid, step):
        """Write a PIL image."""
        file = io.BytesIO()
        grid.save(file, 'PNG')
        image = {'width': grid.width, 'height': grid.height, 'colorspace': len(grid.getbands()),
                 'encoded_image_string': file.getvalue()}
        self._summary(step, [{'tag': 'samples', 'image': image}])

    def _summary(self, step, values):
        self._add(step, summary=self._proto.summary_pb2.Summary(value=values))

    def _add(self, step, **content):
        """Write one message; a reader finds it at once."""
        event, record = self._proto.event_pb2.Event(wall_time=time.time(), step=step, **content), io.BytesIO()
        self._writer(record).write(event.SerializeToString())
        append(self._path, record.getvalue())


def import_tensorboard():
    """TensorBoard's writer of records and its messages. Raises ValueError when the package cannot be imported."""
    try:
        from tensorboard.compat import proto
        from tensorboard.compat.proto import event_pb2, summary_pb2  # noqa: F401: makes them attributes of proto
        from tensorboard.summary.writer.record_writer import RecordWriter
    except Exception as error:  # a version that does not fit protobuf or NumPy raises TypeError, AttributeError, ...
        if find_spec('tensorboard') is None:
            raise ValueError("tensorboard: the package is not installed; pip install -e '.[tensorboard]'") from error
        raise ValueError('tensorboard: the package is installed but cannot be imported '
                         f'({type(error).__name__}: {error})') from error
    return RecordWriter, proto
