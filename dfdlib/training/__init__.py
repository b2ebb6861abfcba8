"""Training: settings, the loop, augmentation, frozen features, folds, learning from failures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "crossval": ["CrossValidation", "compare", "cross_validate"],
        "finetune": ["before_and_after", "failures", "learn_from_failures", "save_failures", "with_feedback"],
        "frozen": ["fit_frozen"],
        "generalise": ["PROTOCOLS", "finding", "open_sources"],
        "loop": ["fit"],
        "settings": ["TrainConfig"],
    },
)
