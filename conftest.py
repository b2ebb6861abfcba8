"""Settings for all tests: results go to a temporary folder, and notebooks compare text alone."""

import atexit
import os
import shutil
import tempfile

# Before any kernel starts: tests never touch reports/.
if "DFD_REPORTS_DIR" not in os.environ:
    os.environ["DFD_REPORTS_DIR"] = tempfile.mkdtemp(prefix="dfd-reports-")
    atexit.register(shutil.rmtree, os.environ["DFD_REPORTS_DIR"], ignore_errors=True)

# Tests that run side by side (`-n`) share the cores instead of fighting over them.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))


def pytest_collectstart(collector):
    """Keep nbval from comparing what depends on the machine: progress bars, HTML and warnings."""
    if collector.path and collector.path.suffix == ".ipynb" and hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html", "application/javascript", "stderr")
