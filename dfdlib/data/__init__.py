"""Data sets: a manifest with one row per image, from any folder; its splits, duplicates and tensors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clips": ["ClipDataset"],
        "dataset": ["Batch", "ImageDataset", "typical_side"],
        "duplicates": ["find_duplicates", "image_facts", "regroup"],
        "loader": ["GroupShuffle", "make_loader"],
        "manifest": [
            "categories_of",
            "files_of",
            "fingerprint",
            "read_manifest",
            "root_of",
            "subsample",
            "summary",
            "validate",
            "write_manifest",
        ],
        "scan": ["has_videos", "open_data", "open_raw", "scan_images", "scan_videos"],
        "split_folders": ["materialise"],
        "splits": ["assert_disjoint", "assign_splits", "complete_splits", "kfold"],
    },
)
