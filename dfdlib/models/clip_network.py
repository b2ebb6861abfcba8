"""A detector for clips: a backbone looks at each frame, an LSTM at their order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfdlib.models.networks import Heads, Logits, TimmNetwork


class CnnLstm(nn.Module):
    """Features of each frame by a timm backbone, an LSTM over them, and heads on the mean of its outputs.

    After Guera & Delp 2018 (doi:10.1109/AVSS.2018.8639163). Beside the features the LSTM gets their change
    since the frame before, each normalised: what differs between videos is far larger than what moves
    within one, and would drown it. An image is a clip of one frame.
    """

    def __init__(
        self,
        backbone: str,
        n_categories: int = 0,
        hidden: int = 256,
        layers: int = 2,
        bidirectional: bool = True,
        drop_rate: float = 0.2,
        **frame_switches: Any,
    ) -> None:
        """Build the network.

        Args:
            backbone: Any timm model name.
            n_categories: Size of the category head; 0 for none.
            hidden: Units of the LSTM in each direction.
            layers: Layers of the LSTM.
            bidirectional: Look at the clip from both ends.
            drop_rate: Dropout between the layers of the LSTM and before the heads.
            frame_switches: Further arguments of `TimmNetwork`, such as `residual`.
        """
        super().__init__()
        self.frames = TimmNetwork(backbone, **frame_switches)
        n_features, self.frames.heads = self.frames.heads.fake.in_features, None
        self.norm = nn.BatchNorm1d(2 * n_features)
        self.lstm = nn.LSTM(
            2 * n_features,
            hidden,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=drop_rate if layers > 1 else 0.0,
        )
        self.heads = Heads(hidden * (1 + bidirectional), n_categories, drop_rate)

    @property
    def backbone(self) -> nn.Module:
        """The backbone that looks at single frames."""
        return self.frames.backbone

    @property
    def target_layer(self) -> str:
        """Dotted name of the last feature map of a frame."""
        return f"frames.{self.frames.target_layer}"

    def forward(self, clips: Tensor) -> Logits:
        """Map clips [B, T, 3, H, W] or images [B, 3, H, W], uint8 or float in [0, 1], to `Logits`."""
        clips = clips if clips.ndim == 5 else clips[:, None]
        features = self.frames.embed(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        change = torch.diff(features, dim=1, prepend=features[:, :1])
        steps = self.norm(torch.cat([features, change], 2).flatten(0, 1)).unflatten(0, clips.shape[:2])
        outputs, _ = self.lstm(steps)
        return self.heads(outputs.mean(1))
