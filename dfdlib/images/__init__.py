"""The pixels of one file: decoded, fitted to a square, degraded, forged; faces and videos.

No table and no label is known here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "decode": ["IMAGE_SUFFIXES", "decode_image", "read_image", "write_image"],
        "degrade": ["DEGRADATIONS", "Degradation"],
        "faces": ["Box", "Square", "cut_square", "find_faces", "follow_face", "parse_faces"],
        "forge": ["FAMILIES", "STRENGTHS", "forge_image"],
        "picture": ["Picture", "fit_image", "fit_views", "overlay", "read_picture", "reduce_image"],
        "tiles": ["parse_fit"],
        "video": ["VIDEO_SUFFIXES", "read_frames", "read_subject"],
    },
)
