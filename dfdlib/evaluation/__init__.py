"""Judging detectors: the predictions table, metrics with intervals, thresholds, robustness, leaks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audit": ["Audit", "LeakProbe", "audit_images"],
        "bootstrap": ["bootstrap_metrics"],
        "calibration": [
            "abstain_band",
            "calibrate",
            "choose_threshold",
            "reliability",
            "threshold_for_false_alarms",
            "with_temperature",
        ],
        "comparison": ["Comparison", "paired_bootstrap"],
        "files": ["frame_scores", "predict_files"],
        "generalisation": ["cross_dataset", "leave_one_out", "leave_one_out_matrix"],
        "metrics": [
            "auc",
            "auc_interval",
            "binary_metrics",
            "by",
            "by_category",
            "by_generator",
            "eer",
            "video_level",
        ],
        "predictions": ["predict", "predict_ensemble"],
        "robustness": ["measure_robustness", "predict_degraded"],
        "tables": [
            "auc_table",
            "classification_table",
            "metrics_table",
            "predictions_table",
            "public_table",
            "with_threshold",
        ],
    },
)
