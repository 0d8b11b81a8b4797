"""The log of a run: a table in a CSV file, and the same for TensorBoard."""

import csv
import io
import time

import numpy as np

from minigan.storage.files import atomic_write

SPLIT = ('V', 'L_D', 'L_G', 'D_x', 'D_G_z')  # measured on both splits
COLUMNS = ('epoch', 'step', 'gradient_norm_G', 'gradient_norm_D', *(f'train_{name}' for name in SPLIT),
           *(f'validation_{name}' for name in SPLIT), 'distance', 'spread', 'seconds')


def as_array(rows):
    """The log as one float64 array, for a checkpoint."""
    return np.array([[row[name] for name in COLUMNS] for row in rows], float).reshape(len(rows), len(COLUMNS))


def as_rows(array):
    """The log from as_array's form."""
    return [{**dict(zip(COLUMNS, row)), 'epoch': int(row[0]), 'step': int(row[1])} for row in array.tolist()]


def write_csv(path, rows):
    """Write all rows, dicts with COLUMNS: a reader finds whole epochs at any moment. Raises OSError."""
    with atomic_write(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({name: f'{row[name]:.6g}' if isinstance(row[name], float) else row[name] for name in COLUMNS}
                         for row in rows)


class TensorBoard:
    """Scalars and pictures for TensorBoard, written by its own package. What lies there for later steps is dropped.

    Raises ValueError when the package is not installed, OSError when the folder cannot be written.
    """

    def __init__(self, folder, step):
        writer, self._proto = import_tensorboard()
        self._writer = writer(str(folder))
        start = self._proto.event_pb2.SessionLog(status=self._proto.event_pb2.SessionLog.START)
        self._writer.add_event(self._proto.event_pb2.Event(wall_time=time.time(), step=step + 1, session_log=start))

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
        self._writer.close()

    def _add(self, step, values):
        summary = self._proto.summary_pb2.Summary(value=values)
        self._writer.add_event(self._proto.event_pb2.Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()


def import_tensorboard():
    """TensorBoard's writer and its messages. Raises ValueError when the package is not installed."""
    try:
        from tensorboard.compat import proto
        from tensorboard.compat.proto import event_pb2, summary_pb2  # noqa: F401: makes them attributes of proto
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ValueError("tensorboard: the package is not installed; pip install -e '.[tensorboard]'") from error
    return EventFileWriter, proto
