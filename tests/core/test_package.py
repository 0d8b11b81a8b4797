"""What `import minigan` offers: names that exist, and that hide no module."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import minigan

PACKAGE = Path(minigan.__file__).parent


def test_every_name_that_is_offered_exists():
    assert len(set(minigan.__all__)) == len(minigan.__all__)
    assert all(hasattr(minigan, name) for name in minigan.__all__)


def test_no_name_hides_a_module_of_the_same_folder():
    for folder in [PACKAGE, *(path.parent for path in PACKAGE.glob('*/__init__.py'))]:
        modules = {path.stem for path in folder.iterdir() if path.suffix == '.py' or (path / '__init__.py').exists()}
        package = '.'.join(('minigan', *folder.relative_to(PACKAGE).parts))
        for name in modules - {'__init__', '__main__'}:
            found = getattr(__import__(package, fromlist=['']), name, None)
            assert found is None or isinstance(found, ModuleType), f'{package}.{name} is no module, but hides one'


def test_laws_is_one_module_however_it_is_imported():
    program = "import minigan; first = minigan.laws; import minigan.laws; from minigan import laws; " \
              "assert first is laws is minigan.laws; print(laws.hold_for.__name__)"
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout == 'hold_for\n', done.stderr
