"""Where a search is kept: Optuna's storage in a file, and a folder next to it for the runs."""

import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from minigan.storage.files import locked, make_folder

STUDY = 'minigan'  # its name in the storage
SQLITE, JOURNAL = ('.db',), ('.log', '.journal')
CLAIMS = 'claims'  # a folder of empty files, which are locked while a process works on the run of the same name
WAIT = 0.02  # seconds between two attempts to lock


def import_optuna():
    """Optuna. Raises ValueError when it cannot be imported."""
    try:
        import optuna
    except Exception as error:  # its packages may not fit each other
        if find_spec('optuna') is None:
            raise ValueError("search: Optuna is not installed; pip install -e '.[search]'") from error
        raise ValueError('search: Optuna is installed but cannot be imported '
                         f'({type(error).__name__}: {error})') from error
    return optuna


class Store:
    """A study of Optuna in a file, and the folder of its runs: runs/search for runs/search.db.

    Several processes may share it. A lock tells which of them works on what, and ends with its process.
    Raises ValueError for a file that is neither .db (SQLite) nor .log or .journal (a journal).
    """

    def __init__(self, file):
        self.file = Path(file)
        if self.file.suffix not in SQLITE + JOURNAL:
            raise ValueError(f'storage: expected a name that ends in {", ".join(SQLITE + JOURNAL)}, got {file}')
        self.folder = self.file.with_suffix('')

    def open(self, optuna):
        """The study. Makes what is missing. Raises ValueError for a file that is not a storage, OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.alone():
            if not self.file.exists() and (found := {path.name for path in self.folder.iterdir()} - {CLAIMS}):
                raise ValueError(f'{self.folder}: expected no folder, or an empty one, for the runs of a new search, '
                                 f'got one with {min(found)}')
            make_folder(self.folder / CLAIMS)
            try:
                storage = self._sqlite(optuna) if self.file.suffix in SQLITE else self._journal(optuna)
                known = STUDY in optuna.get_all_study_names(storage)
                study = (optuna.load_study if known else optuna.create_study)(study_name=STUDY, storage=storage)
                if study.directions != [optuna.study.StudyDirection.MINIMIZE]:
                    raise ValueError('it does not minimise one number')
                return study
            except OSError:
                raise
            except Exception as error:  # of SQLAlchemy, Alembic, JSON, ...: whatever the content makes them raise
                raise ValueError(f"{self.file}: expected a search's storage, or no file "
                                 f'({type(error).__name__}: {" ".join(str(error).split())[:200]})') from error

    def _sqlite(self, optuna):
        from sqlalchemy import URL
        url = URL.create('sqlite', database=str(self.file.resolve())).render_as_string()  # escapes a ? in the name
        return optuna.storages.RDBStorage(url, engine_kwargs={'connect_args': {'timeout': 60}})

    def _journal(self, optuna):
        backend = optuna.storages.journal.JournalFileBackend(str(self.file), lock_obj=JournalLock(self.file))
        with waited(self.file):
            _drop_half_a_line(self.file)
        return optuna.storages.JournalStorage(backend)

    def alone(self):
        """For the block, no other process changes the list of trials."""
        return waited(self.folder)

    def claim(self, name):
        """An ExitStack, open while this process works on a run; None while a different process does."""
        path = self.folder / CLAIMS / name
        path.touch()
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(path))
            except ValueError:
                return None
            return stack.pop_all()


class JournalLock:
    """The lock of a journal. Optuna's own outlives a killed process, and the next one then waits for half a minute."""

    def __init__(self, path):
        self.path, self.held = path, ExitStack()

    def acquire(self):
        """Wait for the lock."""
        self.held.enter_context(waited(self.path))
        return True

    def release(self):
        """Let the next process in."""
        self.held.close()


@contextmanager
def waited(path):
    """Lock a file or folder for the block, as soon as no other process has locked it."""
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(path))
                break
            except ValueError:
                time.sleep(WAIT)
        yield


def _drop_half_a_line(path):
    """Remove what a full disk left of a journal's last line, or the next line would continue it.

    Raises ValueError for a file that is no journal, and leaves it as it is.
    """
    with open(path, 'rb+') as file:
        content = file.read()
        if content and not content.startswith(b'{"op_code":'):
            raise ValueError('expected a journal')
        file.truncate(content.rfind(b'\n') + 1)


@contextmanager
def one_line(path):
    """Turn the errors of a storage, such as a full disk, into an OSError of one line."""
    from optuna.exceptions import StorageInternalError
    try:
        yield
    except StorageInternalError as error:
        cause = error.__cause__ or error
        raise OSError(f'{path}: {str(cause).splitlines()[0]}; to go on: the same command') from error
