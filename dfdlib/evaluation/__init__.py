"""Judging detectors: the predictions table, metrics with intervals, thresholds, robustness, leaks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audit": ["Audit", "LeakProbe", "audit_images"],
        "bootstrap": ["auc_interval", "bootstrap_metrics", "by_generator"],
        "calibration": [
            "abstain_band",
            "calibrate",
            "choose_threshold",
            "false_alarms_below",
            "reliability",
            "threshold_for_false_alarms",
        ],
        "comparison": ["Comparison", "paired_bootstrap"],
        "files": ["frame_scores", "judge_files", "predict_files"],
        "metrics": ["METRICS", "auc", "average_precision", "binary_metrics", "by_category", "eer"],
        "predictions": ["predict", "predict_ensemble"],
        "robustness": ["measure_robustness", "predict_degraded"],
        "tables": [
            "auc_table",
            "classification_table",
            "metrics_table",
            "predictions_table",
            "public_table",
            "video_level",
            "with_decision",
        ],
    },
)
