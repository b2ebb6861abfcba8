"""The history of a run: which epoch is best, and when it stalls."""

import pytest

from dfdlib.training.history import History


def history(losses, aucs=None, monitor="auc"):
    made = History(monitor)
    for loss, auc in zip(losses, aucs or [0.5] * len(losses), strict=True):
        made.add({"val_loss": loss, "val_auc": auc})
    return made


def test_the_best_epoch_is_the_best_by_what_is_monitored():
    losses, aucs = [0.5, 0.3, 0.4], [0.7, 0.8, 0.9]
    assert history(losses, aucs).best == 2
    assert history(losses, aucs, "loss").best == 1
    assert history([0.5, 0.4, 0.4], [0.8, 0.8, 0.8]).best == 1, "equal: smaller loss, then first"
    assert [row["best"] for row in history(losses, aucs, "loss").rows] == [False, True, False]
    assert history(losses, aucs, "loss").epochs_since_best() == 1


def test_adding_says_whether_it_is_better():
    made = History("loss")
    assert [made.add({"val_loss": loss, "val_auc": 0.5}) for loss in (3, 2, 2.5, 1)] == [
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("losses", "halvings"),
    [([], 0), ([3, 2, 1], 0), ([1, 2, 2], 1), ([1, 2, 0.5, 2, 2], 1), ([1, 2, 2, 2, 2], 2), ([1, 1, 1], 1)],
)
def test_a_stalled_loss_is_counted(losses, halvings):
    assert history(losses).halvings() == halvings
