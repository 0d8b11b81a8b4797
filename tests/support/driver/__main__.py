"""What support.driver.run starts:  python -m support.driver module:function JSON EXECUTES"""

import importlib
import json
import sys

from support.driver.install import Driver

where, arguments, executes = sys.argv[1:]
driver = Driver(executes=bool(int(executes)))
module, name = where.split(':')
print(json.dumps(getattr(importlib.import_module(module), name)(driver, *json.loads(arguments))))
