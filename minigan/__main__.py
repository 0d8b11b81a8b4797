"""python -m minigan"""

from minigan.cli import main

if __name__ == '__main__':
    raise SystemExit(main())
