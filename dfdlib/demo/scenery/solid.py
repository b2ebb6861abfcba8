"""A small depth-buffered sculptor: smooth primitives, seen by an orthographic camera.

Image coordinates are fractions of the image width with x to the right, y down and z towards the viewer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .draw import Array, grid, unit

FAR = -9.0
# Attributes of a surface point: normal (3), albedo (3), gloss, mirror, softness, strand direction (2).
NORMAL, ALBEDO, GLOSS, MIRROR, SOFT, FLOW = slice(0, 3), slice(3, 6), 6, 7, 8, slice(9, 11)
CHANNELS = 11

Field = Callable[[Array], Array]
Point = Sequence[float] | Array
Profile = Sequence[tuple[float, float]] | Array


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """Rotation matrix [3, 3] (radians): yaw turns +z towards +x, pitch tips the top towards the viewer."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tip = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return lean @ tip @ turn


@dataclass(frozen=True)
class Frame:
    """Placement of a local coordinate system: ``image = origin + scale * rotation @ local``."""

    origin: Array
    scale: float
    rotation: Array

    def to_image(self, point: Point) -> Array:
        """Image coordinates [3] of a local point [3]."""
        return self.origin + self.scale * self.rotation @ np.asarray(point, float)

    def to_local(self, points: Array) -> Array:
        """Local coordinates of image points [..., 3]."""
        matrix = (self.rotation / self.scale).astype(np.float32)
        return (points - self.origin.astype(np.float32)) @ matrix

    def joint(self, point: Point, turn: Array, size: float = 1.0) -> Frame:
        """A frame at the local ``point``, turned by ``turn`` [3, 3] and ``size`` times as large."""
        return Frame(self.to_image(point), self.scale * size, self.rotation @ turn)


@dataclass(frozen=True)
class Finish:
    """Surface colour (linear RGB [3]), highlight strength, mirror share and light-scattering softness."""

    colour: Array
    gloss: float = 0.05
    mirror: float = 0.0
    soft: float = 0.0


class Solid:
    """Depth-buffered surface [size, size] assembled from smooth primitives given in local coordinates."""

    def __init__(self, size: int, frame: Frame, fuzz: Array | None = None):
        self.size, self.frame, self.fuzz = size, frame, fuzz
        self.depth = np.full((size, size), FAR, np.float32)
        self.alpha = np.zeros((size, size), np.float32)
        self.planes = np.zeros((CHANNELS, size, size), np.float32)
        self.attrs = np.moveaxis(self.planes, 0, -1)

    def layer(self, frame: Frame | None = None) -> Solid:
        """An empty solid of the same size, to be decorated on its own and then merged."""
        return Solid(self.size, frame or self.frame, self.fuzz)

    def local(self, window: tuple[slice, slice] = (slice(None), slice(None))) -> Array:
        """Local coordinates [h, w, 3] of the visible surface."""
        x, y = grid(self.size)
        return self.frame.to_local(np.stack([x[window], y[window], self.depth[window]], -1))

    def window(self, margin: int = 2) -> tuple[slice, slice]:
        """Smallest window that holds everything drawn so far."""
        x, y, w, h = cv2.boundingRect((self.alpha > 0).astype(np.uint8))
        return slice(max(y - margin, 0), y + h + margin), slice(max(x - margin, 0), x + w + margin)

    def merge(self, other: Solid, blend: float = 0.0) -> None:
        """Depth-test another solid into this one."""
        if other.alpha.any():
            box = other.window()
            share = self._blend_depth(box, other.alpha[box], other.depth[box], blend)
            planes = self.planes[(slice(None), *box)]
            planes += (other.planes[(slice(None), *box)] - planes) * share

    def ellipsoid(
        self,
        centre: Point,
        radii: Point,
        finish: Finish,
        turn: Array | None = None,
        blend: float = 0.0,
        cut: Field | None = None,
        flow: Point = (0, 1, 0),
    ) -> None:
        """Add an ellipsoid; ``cut`` maps local points to a signed distance and keeps its positive side."""
        axes = self.frame.scale * self.frame.rotation @ (np.eye(3) if turn is None else turn)
        matrix = axes @ np.diag(np.maximum(radii, 1e-3))
        middle = self.frame.to_image(centre)
        reach = np.linalg.norm(matrix, axis=1)
        found = self._grid(middle[:2] - reach[:2], middle[:2] + reach[:2])
        if found is None:
            return
        box, x, y = found
        inverse = np.linalg.inv(matrix)
        q = (inverse.T @ inverse).astype(np.float32)  # the surface is d @ q @ d == 1
        dx, dy = x - np.float32(middle[0]), y - np.float32(middle[1])
        outline = q[:2, :2] - np.outer(q[:2, 2], q[2, :2]) / q[2, 2]
        px, py = dx * outline[0, 0] + dy * outline[0, 1], dx * outline[1, 0] + dy * outline[1, 1]
        level = np.maximum(dx * px + dy * py, 1e-9)
        root = np.sqrt(level)
        distance = (1 - root) * root / (np.sqrt(px * px + py * py) + 1e-9)
        dz = np.sqrt(np.maximum(1 - level, 0) / q[2, 2]) - (dx * q[2, 0] + dy * q[2, 1]) / q[2, 2]
        normal = np.stack([dx * q[k, 0] + dy * q[k, 1] + dz * q[k, 2] for k in range(3)])
        self._paint(box, x, y, dz + np.float32(middle[2]), distance, unit(normal), finish, flow, blend, cut)

    def capsule(
        self, start: Point, end: Point, radii: tuple[float, float], finish: Finish, blend: float = 0.0
    ) -> None:
        """Add a round-ended, tapering limb between two local points."""
        p, q = self.frame.to_image(start).astype(np.float32), self.frame.to_image(end).astype(np.float32)
        r0, r1 = (np.float32(self.frame.scale * r) for r in radii)
        reach = max(r0, r1)
        found = self._grid(np.minimum(p, q)[:2] - reach, np.maximum(p, q)[:2] + reach)
        if found is None:
            return
        box, x, y = found
        axis = q - p
        t = (x - p[0]) * axis[0] + (y - p[1]) * axis[1]
        t = np.clip(t / (axis[0] ** 2 + axis[1] ** 2 + 1e-7), 0, 1)
        radius = r0 + (r1 - r0) * t
        dx, dy = x - p[0] - t * axis[0], y - p[1] - t * axis[1]
        off = np.sqrt(dx * dx + dy * dy)
        lift = np.sqrt(np.maximum(radius**2 - off**2, 0))
        normal = np.stack([dx, dy, lift]) / np.maximum(off, radius)
        flow = np.asarray(end, float) - np.asarray(start, float)
        self._paint(box, x, y, p[2] + t * axis[2] + lift, radius - off, normal, finish, flow, blend)

    def prism(
        self, profile: Profile, half_width: float, finish: Finish, lean: float = 0.0, rounding: float = 0.02
    ) -> None:
        """Add a convex side ``profile`` (clockwise on screen, x right and y down) swept along z.

        ``lean`` (radians) tilts both side faces inwards towards the top; ``rounding`` softens the edges.
        """
        points = np.asarray(profile, float)
        width = half_width - np.tan(lean) * (points[:, 1].max() - points[:, 1])
        corners = np.vstack([np.c_[points, side * width] for side in (-1, 1)])
        corners = self.frame.origin + self.frame.scale * corners @ self.frame.rotation.T
        found = self._grid(corners.min(0)[:2], corners.max(0)[:2])
        if found is None:
            return
        box, x, y = found
        edges = np.roll(points, -1, axis=0) - points
        normals = np.c_[edges[:, 1], -edges[:, 0], np.zeros(len(points))]
        normals = np.vstack([normals / np.linalg.norm(normals, axis=1, keepdims=True), np.zeros((2, 3))])
        normals[-2:, 1:] = [(-np.sin(lean), np.cos(lean)), (-np.sin(lean), -np.cos(lean))]
        facing = normals @ self.frame.rotation.T
        levels = (facing[:, None] * corners).sum(2).max(1)
        seen = facing[:, 2] > 1e-3
        slopes = (facing[seen, :2] / facing[seen, 2:]).astype(np.float32)
        heights = (levels[seen] / facing[seen, 2]).astype(np.float32)
        depths = np.stack([h - a * x - b * y for h, (a, b) in zip(heights, slopes, strict=True)])
        nearest, soft = depths.min(0), np.float32(max(rounding * self.frame.scale, 1e-4))
        weights = np.exp(-np.minimum((depths - nearest) / soft, 30))
        normal = unit(np.tensordot(facing[seen].astype(np.float32), weights, (0, 0)))
        z = nearest - soft * np.log(weights.sum(0)) * 0.5
        self._paint(box, x, y, z, _inside_hull(corners[:, :2], x, y), normal, finish)

    def _grid(self, low: Array, high: Array) -> tuple[tuple[slice, slice], Array, Array] | None:
        """Pixel window and its coordinates around the image rectangle ``low`` to ``high``, if visible."""
        margin = 2.5 / self.size + (0.0 if self.fuzz is None else 0.03)
        x0, y0 = (max(int((v - margin) * self.size), 0) for v in low)
        x1, y1 = (min(int((v + margin) * self.size) + 1, self.size) for v in high)
        if x1 <= x0 or y1 <= y0:
            return None
        box = slice(y0, y1), slice(x0, x1)
        x, y = grid(self.size)
        return box, x[box], y[box]

    def _paint(self, box, x, y, z, distance, normal, finish, flow=(1, 0, 0), blend=0.0, cut=None) -> None:
        """Depth-test one primitive: ``distance`` is the signed distance to its outline."""
        if cut is not None:
            local = self.frame.to_local(np.stack([x, y, z], -1))
            distance = np.minimum(distance, cut(local).astype(np.float32) * self.frame.scale)
        if self.fuzz is not None:
            distance = distance + self.fuzz[box]
        direction = self.frame.rotation @ np.asarray(flow, float)
        direction = direction[:2] / (np.linalg.norm(direction) + 1e-9)
        surface = [*finish.colour, finish.gloss, finish.mirror, finish.soft, *direction]
        cover = np.clip(0.5 + distance * self.size, 0, 1)
        share = self._blend_depth(box, cover, z, blend * self.frame.scale)
        planes = self.planes[(slice(None), *box)]
        planes[NORMAL] += (normal - planes[NORMAL]) * share
        planes[3:] += (np.array(surface, np.float32)[:, None, None] - planes[3:]) * share

    def _blend_depth(self, box: tuple[slice, slice], cover: Array, z: Array, blend: float) -> Array:
        """Update coverage and depth; return the share [h, w] of the new surface in what is visible."""
        alpha, depth = self.alpha[box], self.depth[box]
        reach = blend + 1e-4
        ahead = np.clip((z - depth) / (2 * reach), -0.5, 0.5)
        front = 0.5 + ahead * (1.5 - 2 * ahead * ahead)
        total = alpha + (1 - alpha) * cover
        share = cover * (front + (1 - front) * (1 - alpha)) / np.maximum(total, 1e-4)
        raised = np.maximum(depth, z) + (reach / 2) * (1 - 2 * np.abs(ahead)) ** 2
        self.depth[box] = np.where(cover > 0.02, np.where(alpha > 0.02, raised, z), depth)
        self.alpha[box] = total
        return share


def _inside_hull(points: Array, x: Array, y: Array) -> Array:
    """Signed distance, positive inside, of ``x``, ``y`` to the convex hull of the points [n, 2]."""
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    edges = np.roll(hull, -1, axis=0) - hull
    edges /= np.linalg.norm(edges, axis=1, keepdims=True) + 1e-9
    return np.min([(y - q) * a - (x - p) * b for (p, q), (a, b) in zip(hull, edges, strict=True)], axis=0)


Sculpture = tuple[Solid, float | None]
"""A subject and the row of its feet, as a fraction of the image; None for a close-up."""


def roughen(solid: Solid, relief: Array, window: tuple[slice, slice]) -> None:
    """Tilt the normals inside ``window`` by a height map [h, w] given as a fraction of the image width."""
    dx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=solid.size / 8)
    dy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=solid.size / 8)
    solid.attrs[window][..., 0] -= dx
    solid.attrs[window][..., 1] -= dy
