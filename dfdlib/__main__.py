"""`python -m dfdlib` is `dfd`."""

import sys

from .cli import main

sys.exit(main())
