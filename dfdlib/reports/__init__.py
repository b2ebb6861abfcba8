"""Run outputs: the files of one run, the page over all runs, and the notebooks run headless."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checks": ["Finding", "check_run"],
        "notebooks": ["notebook_files", "run_notebook"],
        "report": ["Report"],
        "site": ["build_site", "find_runs"],
    },
)
