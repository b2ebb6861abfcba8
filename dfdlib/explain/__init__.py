"""Why a detector decided so: heatmaps, and heatmaps put to the test."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "faithfulness": [
            "baseline_maps",
            "deletion_insertion",
            "localisation",
            "localisation_table",
            "randomised_weights",
            "references",
            "removal_verdict",
            "sanity_verdict",
        ],
        "heatmaps": [
            "Explanation",
            "METHODS",
            "confident_explanation",
            "explain_files",
            "explain_images",
            "explain_picture",
            "pick_samples",
            "save_samples",
            "most_confident",
        ],
    },
)
