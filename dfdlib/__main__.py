"""`python -m dfdlib` is `dfd`."""

import sys

from dfdlib.cli.app import main

sys.exit(main())
