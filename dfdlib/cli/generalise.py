"""Commands that ask what detectors are worth on what they have not seen, and put stored results together."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from dfdlib.cli.learn import check_network
from dfdlib.cli.options import Paths, require
from dfdlib.training.settings import TrainConfig

if TYPE_CHECKING:
    import pandas as pd

    from dfdlib.reports.report import Report


def generalise(
    data: Paths,
    /,
    *,
    out: str,
    protocol: Literal["sources", "pooled", "generators", "released"] = "sources",
    seeds: int = 1,
    window: int = 1,
    max_images: int = 0,
    backbone: str = "tf_efficientnetv2_b0",
    image_size: int = 0,
    pretrained: Literal["auto", "none"] = "auto",
    weights: str = "",
    fallback: str = "tf_efficientnet_lite0",
    residual: bool = False,
    stem_stride: int = 0,
    config: tyro.conf.OmitArgPrefixes[TrainConfig] = TrainConfig(),  # noqa: B008 (it is frozen)
) -> dict[str, Any]:
    """Train on parts of the data and test on the others; print what was found.

    An interrupted run with the same settings resumes; what it has trained is not trained again.

    Args:
        data: Folders or manifests; each is a source, called as its folder, or as its column `source` says.
        out: Folder of generalise.csv, generalise.png, metrics.json and the detectors.
        protocol: Train on each source and test on each; on all sources together and on all but each; leave out one
            generator at a time; or train on older generators and test on newer ones, by the manifest's column
            `released` or the library's table.
        seeds: Trainings of each part; their AUCs are averaged.
        window: Least number of generators in a period of `released`.
        max_images: Use at most this many of each source; 0 for all.
        backbone: Any timm model, or cnn.
        image_size: Side of the input in pixels; 0 for what the weights were trained at, or the images' own size.
        pretrained: ImageNet weights where they can be had, or none.
        weights: File of backbone weights.
        fallback: Backbone to take where ImageNet weights of the wanted one cannot be had.
        residual: High-pass residual beside RGB.
        stem_stride: Stride of the first convolution; 0 leaves it unchanged.
        config: How to train each.
    """
    require({"a data set": data})
    check_network(backbone, image_size, [weights, residual, stem_stride])
    from dfdlib.core import machine
    from dfdlib.data import typical_side
    from dfdlib.models.detector import create_detector
    from dfdlib.reports.report import Report
    from dfdlib.training import generalise as protocols

    machine.setup(config.seed)
    report = Report("dfd generalise", config, out)
    with contextlib.redirect_stdout(sys.stderr):
        manifest = protocols.open_sources(data, config.seed, max_images)
        given = {"fallback": fallback, "largest_side": typical_side(manifest)}
        given |= {} if backbone == "cnn" else {"residual": residual, "stem_stride": stem_stride}
        new = partial(create_detector, backbone, image_size, (), pretrained, weights, **given)
        table = protocols.generalise(manifest, protocol, new, config, out, seeds, window)
    model = new().arguments.get("backbone", backbone)
    return _saved(
        report, manifest, table, protocol, {"model": model, "seeds": [config.seed + i for i in range(seeds)]}
    )


def _saved(
    report: Report, manifest: pd.DataFrame, table: pd.DataFrame, protocol: str, about: dict[str, Any]
) -> dict[str, Any]:
    """Write the table, its figure and `metrics.json`; return what to print."""
    from dfdlib.core.files import plain
    from dfdlib.plots import generalisation_matrix
    from dfdlib.training.generalise import finding

    found = finding(table, protocol)
    report.save_table(table, "generalise.csv")
    figure = generalisation_matrix(table)
    report.save_figure(figure, "generalise", model=about["model"], n=len(manifest), finding=found)
    report.save_metrics(manifest, {}, protocol=protocol, finding=found, **about)
    csv = str(report.out_dir / "generalise.csv")
    return {"finding": found, "table": csv, "cells": plain(table.to_dict("records"))}


def results(folders: Paths, /, *, out: str = "") -> str:
    """Put the numbers of stored runs on one page in Markdown; print its path.

    Args:
        folders: Folders that hold runs, at any depth.
        out: The page; by default reports/RESULTS.md.
    """
    require({"a folder": folders})
    from dfdlib.core import paths
    from dfdlib.reports.results import write_results

    page = Path(out) if out else paths.reports_root() / "RESULTS.md"
    write_results(folders, page)
    return str(page)
