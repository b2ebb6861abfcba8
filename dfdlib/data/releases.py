"""When known generators became public: what orders them for tests of older against newer."""

from __future__ import annotations

import re

RELEASED = {
    "Face2Face": "2016-06",  # Thies et al., CVPR 2016
    "CycleGAN": "2017-03",  # arXiv:1703.10593
    "ProGAN": "2017-10",  # arXiv:1710.10196
    "StarGAN": "2017-11",  # arXiv:1711.09020
    "BigGAN": "2018-09",  # arXiv:1809.11096
    "StyleGAN": "2018-12",  # arXiv:1812.04948
    "GauGAN": "2019-03",  # arXiv:1903.07291
    "NeuralTextures": "2019-04",  # arXiv:1904.12356
    "StyleGAN2": "2019-12",  # arXiv:1912.04958
    "StarGAN2": "2019-12",  # arXiv:1912.01865
    "FaceShifter": "2019-12",  # arXiv:1912.13457
    "DDPM": "2020-06",  # arXiv:2006.11239
    "VQGAN": "2020-12",  # arXiv:2012.09841
    "DALL-E": "2021-01",  # announced by OpenAI, 5 January 2021
    "ADM": "2021-05",  # arXiv:2105.05233
    "SimSwap": "2021-06",  # arXiv:2106.06340
    "StyleGAN3": "2021-06",  # arXiv:2106.12423
    "LaMa": "2021-09",  # arXiv:2109.07161
    "ProjectedGAN": "2021-11",  # arXiv:2111.01007
    "VQDM": "2021-11",  # arXiv:2111.14822
    "GLIDE": "2021-12",  # arXiv:2112.10741
    "LDM": "2021-12",  # arXiv:2112.10752
    "DALL-E 2": "2022-04",  # arXiv:2204.06125
    "Imagen": "2022-05",  # arXiv:2205.11487
    "Midjourney": "2022-07",  # open beta, 12 July 2022
    "Stable Diffusion": "2022-08",  # 1.4, published by Stability AI, 22 August 2022
    "Stable Diffusion 1.4": "2022-08",  # the same
    "Stable Diffusion 1.5": "2022-10",  # published by Runway, 20 October 2022
    "Stable Diffusion 2.0": "2022-11",  # announced by Stability AI, 24 November 2022
    "Stable Diffusion 2.1": "2022-12",  # announced by Stability AI, 7 December 2022
    "Midjourney 5": "2023-03",  # alpha, 15 March 2023
    "Firefly": "2023-03",  # Adobe's public beta, 21 March 2023
    "DeepFloyd IF": "2023-04",  # announced by Stability AI, 28 April 2023
    "Stable Diffusion XL": "2023-07",  # arXiv:2307.01952
    "DALL-E 3": "2023-09",  # announced by OpenAI, 20 September 2023
    "PixArt": "2023-10",  # arXiv:2310.00426
    "Midjourney 6": "2023-12",  # alpha, 21 December 2023
    "Stable Diffusion 3": "2024-03",  # arXiv:2403.03206
    "FLUX.1": "2024-08",  # announced by Black Forest Labs, 1 August 2024
}
"""Year and month of the first publication, by generator."""


def released(generator: str) -> str | None:
    """Return when a generator became public, as `2022-08`; None where `RELEASED` lacks it.

    Case, spaces, marks and a `v` before a number do not matter: `stable_diffusion_v_1_4` and `SD 1.4` are the same.
    """
    return _BY_KEY.get(_key(generator))


def _key(name: str) -> str:
    letters = re.sub("[^a-z0-9]", "", name.lower()).replace("stablediffusion", "sd")
    return re.sub(r"v(?=\d)", "", letters)


_BY_KEY = {_key(name): month for name, month in RELEASED.items()}
