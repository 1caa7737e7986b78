"""``python -m fnn COMMAND ...``: see ``fnn.cli``."""

import sys

from fnn.cli import guarded, main

if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:], "fnn"))
