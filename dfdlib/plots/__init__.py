"""Every figure, as a function from a table to a matplotlib figure."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["clip_strips", "fact_distributions", "image_grid", "leak_bars", "split_counts"],
        "explain": ["heatmap_grid", "localisation_bars", "map_rows", "randomisation_curve", "removal_curves"],
        "metrics": ["reliability_diagram"],
        "predictions": ["confusion", "generator_bars", "roc", "timeline", "worst_mistakes"],
        "robustness": ["generalisation_matrix", "robustness_curves"],
        "training": ["finetuning", "fold_curves", "fold_scores", "learning_curves", "model_scores"],
    },
)
