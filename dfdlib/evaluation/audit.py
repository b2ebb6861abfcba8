"""What is wrong with a data set before anything is trained on it: duplicates, leaks, broken files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dfdlib.core.errors import DfdError
from dfdlib.data.duplicates import FACTS, find_duplicates, image_facts, regroup
from dfdlib.data.groups import grouping
from dfdlib.data.splits import kfold
from dfdlib.evaluation import metrics
from dfdlib.evaluation.bootstrap import auc_interval

LEAK_FROM, STRONG_FROM = 0.55, 0.7
"""Lower ends of the interval of the probe's AUC from which there is a leak, and a strong one."""


@dataclass(frozen=True)
class LeakProbe:
    """How well facts that say nothing of a manipulation tell real from fake."""

    auc: float
    """Cross-validated AUC of the better one of a linear model and a forest on all facts."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end."""
    facts: pd.DataFrame
    """One row per fact: `fact`, `auc` on its own, 0.5 (nothing) to 1 (tells everything)."""

    def verdict(self) -> str:
        """Say in words what it means."""
        found = f"AUC {self.auc:.2f} [{self.low:.2f}, {self.high:.2f}]"
        if self.low < LEAK_FROM:
            facts = "size, format, compression and colour alone tell real from fake"
            if self.low > 0.5:
                return f"A weak leak at most: {facts} a little better than chance, which a detector must beat ({found})."
            return f"No leak found: {facts} no better than chance ({found})."
        told = ", ".join(self.facts.loc[self.facts["auc"] > LEAK_FROM, "fact"].head(3)) or "their combination"
        grade = "Strong leak" if self.low >= STRONG_FROM else "Leak"
        return (
            f"{grade}: {told} alone tell real from fake ({found}). A detector will learn these instead of the "
            "manipulation; save real and fake images in the same sizes, formats and qualities first."
        )


@dataclass(frozen=True)
class Audit:
    """What was found in a data set."""

    manifest: pd.DataFrame
    """The readable images; near-duplicates share a `group`."""
    facts: pd.DataFrame
    """See `image_facts`, in the order of `manifest`."""
    unreadable: pd.DataFrame
    """Columns `path`, `error`."""
    pairs: pd.DataFrame
    """See `find_duplicates`."""
    probe: LeakProbe | None
    """None where a label is missing or too rare to cross-validate."""

    def verdicts(self) -> list[str]:
        """Say in sentences what was found."""
        exact, near = (self.pairs[self.pairs["kind"] == kind] for kind in ("exact", "near"))
        crossing = int((self.pairs["crosses_splits"]).sum())
        conflicts = int((~exact["same_label"]).sum())
        found = [
            f"{len(self.unreadable)} of {len(self.manifest) + len(self.unreadable)} files cannot be read.",
            *grouping(self.manifest),
            f"{len(exact)} pairs of exact and {len(near)} of near duplicates between groups"
            + ("; they now share a group." if len(self.pairs) else "."),
        ]
        if crossing:
            found.append(
                f"{crossing} of these pairs crossed the splits as the data set stated them: a test on them flatters."
            )
        if conflicts:
            found.append(
                f"{conflicts} exact duplicates are called real in one place and fake in another: one label is wrong."
            )
        found.append(
            self.probe.verdict() if self.probe else "Too few images of one label to probe for leaks."
        )
        return found


def audit_images(manifest: pd.DataFrame, seed: int = 0, workers: int = 0) -> Audit:
    """Look at every file of a data set once, and put duplicates into one group.

    Args:
        manifest: See `manifest`; a `split` that is there is looked at for pairs that cross it.
        seed: Draws the folds of the leak probe.
        workers: Threads that decode; 0 for one per core.

    Raises:
        DfdError: No file can be read.
    """
    facts, unreadable = image_facts(manifest, workers)
    readable = manifest[~manifest["path"].isin(unreadable["path"])].reset_index(drop=True)
    if readable.empty:
        raise DfdError(f"none of the {len(manifest)} images can be read, e.g. {unreadable['error'].iloc[0]}")
    pairs = find_duplicates(readable, facts)
    grouped = regroup(readable, pairs)
    counts = grouped.groupby("label")["group"].nunique()
    probe = leak_probe(grouped, facts, seed) if len(counts) == 2 and counts.min() >= 10 else None
    return Audit(grouped, facts, unreadable, pairs, probe)


def leak_probe(manifest: pd.DataFrame, facts: pd.DataFrame, seed: int = 0) -> LeakProbe:
    """Measure how well size, format, compression and colour alone tell real from fake.

    Five folds, stratified, no group in two of them; a linear model and a forest.

    Args:
        manifest: The images; those without a label do not count.
        facts: See `image_facts`, in the order of `manifest`.
        seed: Draws the folds and the forest.
    """
    known = manifest["label"].notna().to_numpy()
    numbers = (
        facts.loc[known, list(FACTS)].astype(float).assign(no_jpeg=facts.loc[known, "jpeg_quality"].isna())
    )
    numbers = numbers.fillna(numbers.median()).fillna(0)
    features = (
        pd.concat([numbers, pd.get_dummies(facts.loc[known, "format"])], axis=1).astype(float).to_numpy()
    )
    truth = (manifest.loc[known, "label"] == "fake").to_numpy(int)
    table = manifest[known].reset_index(drop=True)
    folds = PredefinedSplit(kfold(table, 5, seed))
    best: tuple[float, float, float] = (-1.0, np.nan, np.nan)
    for model in (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        RandomForestClassifier(200, min_samples_leaf=5, random_state=seed, n_jobs=-1),
    ):
        p_fake = cross_val_predict(model, features, truth, cv=folds, method="predict_proba")
        score = metrics.auc(truth, p_fake[:, 1])
        if score > best[0]:
            best = (score, *auc_interval(table.assign(p_fake=p_fake[:, 1], predicted="")))
    alone = {name: metrics.auc(truth, numbers[name].to_numpy()) for name in FACTS}
    single = pd.DataFrame({"fact": list(alone), "auc": [max(value, 1 - value) for value in alone.values()]})
    single = single.sort_values("auc", ascending=False, ignore_index=True)
    return LeakProbe(*best, single)
