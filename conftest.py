"""Settings for all tests: results go to a temporary folder, and notebooks compare text alone."""

import os
import tempfile

# Before any kernel starts: tests never touch reports/.
os.environ.setdefault("DFD_REPORTS_DIR", tempfile.mkdtemp(prefix="dfd-reports-"))


def pytest_collectstart(collector):
    """Keep nbval from comparing what depends on the machine: progress bars, HTML and warnings."""
    if collector.path and collector.path.suffix == ".ipynb" and hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html", "application/javascript", "stderr")
