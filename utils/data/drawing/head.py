"""Heads: an egg of skin, a cap of hair, and a face drawn on the surface, so that it turns away as a face does."""

from dataclasses import dataclass

import numpy as np

from utils.data.drawing.body import PARTS, SITES, People
from utils.data.drawing.canvas import CORNERS, Patches, Tubes, capsules
from utils.data.drawing.poses import JOINTS
from utils.data.drawing.wardrobe import MATERIALS

NEARER = 0.090  # painted as if this much nearer: over the neck and the shoulders
CENTRE = (0.0, 0.056, 0.016)  # from the head's joint, in statures
RADII = (0.0535, 0.0715, 0.0630)
_HEAD = JOINTS.index("head")
Corners = tuple[tuple[float, float], ...]  # degrees on the head's surface: azimuth to the left, elevation up


@dataclass(frozen=True)
class Feature:
    """A shape on the face."""

    material: str
    corners: Corners
    wear: str = ""


@dataclass(frozen=True)
class Cap:
    """Hair or a hat: what lies within an angle of one direction, on an egg that is a little larger."""

    material: str
    elevation: float  # of its middle, degrees; the middle is at the back
    reach: float  # degrees from the middle to the hairline, below 90
    swell: float
    wear: str


def _oval(azimuth: float, elevation: float, wide: float, high: float) -> Corners:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return tuple((azimuth + wide * float(np.cos(a)), elevation + high * float(np.sin(a))) for a in angles)


def _both(material: str, left: Corners, wear: str = "") -> tuple[Feature, Feature]:
    return Feature(material, left, wear), Feature(material, tuple((-a, e) for a, e in left), wear)


def _mirrored(half: Corners) -> Corners:
    return half + tuple((-a, e) for a, e in reversed(half))


FEATURES = (
    Feature("hair", _mirrored(((0, -46), (14, -42), (28, -31), (60, -10), (68, -30), (58, -54), (30, -72))), "beard"),
    *_both("blush", _oval(36, -15, 9, 7), "detail"),
    *_both("white", _oval(20, 5, 9.5, 6.5), "detail"),
    *_both("iris", _oval(20, 5, 4.8, 5.6)),
    *_both("brow", ((8, 18), (20, 20), (33, 15), (33, 17.5), (20, 23.5), (8, 21.5)), "detail"),
    Feature("lips", _mirrored(((0, -33), (9, -31), (16, -28), (11, -37), (0, -40)))),
)
CAPS = (
    Cap("hair", elevation=40, reach=86, swell=1.06, wear="short_hair"),
    Cap("hair", elevation=34, reach=88, swell=1.07, wear="full_hair"),
    Cap("trim", elevation=66, reach=76, swell=1.10, wear="hat"),
)


def _loops() -> np.ndarray:
    """The features' corners as unit vectors in the head's axes, the last one repeated: (F, CORNERS, 3)."""
    loops = []
    for feature in FEATURES:
        corners = feature.corners + feature.corners[-1:] * (CORNERS - len(feature.corners))
        azimuth, elevation = np.deg2rad(np.array(corners, float)).T
        aside, ahead = np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth)
        loops.append(np.stack((aside, np.sin(elevation), ahead), 1))
    return np.stack(loops)


_LOOPS = _loops()
_MIDDLES = _LOOPS.mean(1)  # (F, 3)
_MATERIALS = np.array([MATERIALS.index(feature.material) for feature in FEATURES])


@dataclass(frozen=True)
class Eggs:
    """Heads as the camera sees them."""

    middle: np.ndarray  # (N, 2) pixels
    depth: np.ndarray  # (N)
    scale: np.ndarray  # (N) pixels per stature
    flat: np.ndarray  # (N, 2, 3) from the unit sphere to pixels around the middle
    away: np.ndarray  # (N, 3) the point of the unit sphere that is farthest from the camera
    tubes: Tubes  # the round bodies behind whatever is drawn on the heads

    @classmethod
    def of(cls, people: People) -> "Eggs":
        turns, size = people.turns[:, _HEAD], people.shape.head[:, None]
        centre = people.places[:, _HEAD] + (turns @ (np.array(CENTRE) * size)[..., None])[..., 0]
        middle, depth = people.view.seen(centre[:, None])
        scale = people.view.scale(depth)[:, 0]
        turn, radii = people.view.turn @ turns, np.array(RADII) * size  # (N, 3, 3), (N, 3)
        away = turn[:, 2] / radii
        away /= np.sqrt((away * away).sum(1, keepdims=True))
        flat = turn[:, :2] * radii[:, None] * scale[:, None, None]
        return cls(middle[:, 0], depth[:, 0], scale, flat, away, _tubes(flat, middle[:, 0], depth, 0.9 * radii[:, 2:]))

    def pixels(self, who: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Where points (M, n, 3) of the unit sphere are seen: (M, n, 2)."""
        return self.middle[who, None] + points @ np.swapaxes(self.flat[who], 1, 2)


def _tubes(flat: np.ndarray, middle: np.ndarray, depth: np.ndarray, thickness: np.ndarray) -> Tubes:
    """From each egg's lower to its upper focus; depth and thickness are (N, 1)."""
    (xx, xy), (_, yy) = np.moveaxis(flat @ np.swapaxes(flat, 1, 2), 0, -1)  # (N,) each
    mean, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    long, short = np.sqrt(mean + spread), np.sqrt(np.maximum(mean - spread, 1e-6))
    angle = np.arctan2(2 * xy, xx - yy) / 2
    reach = (long - short)[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1)
    both = np.ones((len(flat), 2))
    return Tubes(middle - reach, middle + reach, 1.04 * short[:, None] * both, both, depth * both, thickness * both)


def draw_heads(people: People) -> Patches:
    """Skull, hair or hat, face, nose and ears."""
    eggs = Eggs.of(people)
    everyone = np.arange(len(eggs.depth))
    key = eggs.depth - NEARER  # (N,)
    skulls = _on_heads(
        people, eggs, everyone, outlines=eggs.pixels(everyone, _rim(eggs.away)), keys=key, material="skin"
    )
    groups = [skulls, _faces(people, eggs, key), *_noses_and_ears(people, eggs, key)]
    for order, cap in enumerate(CAPS):
        who = np.flatnonzero(people.pieces[cap.wear])
        outline, drawn = _cap_outlines(eggs.away[who], cap)
        who = who[drawn]
        outlines = eggs.pixels(who, outline[drawn] * cap.swell)
        keys = key[who] - 2e-3 - 1e-4 * order
        groups.append(_on_heads(people, eggs, who, outlines=outlines, keys=keys, material=cap.material))
    return Patches.joined(groups)


def _on_heads(
    people: People, eggs: Eggs, who: np.ndarray, *, outlines: np.ndarray, keys: np.ndarray, material: str
) -> Patches:
    colours = people.colours(who, np.full(len(who), MATERIALS.index(material)))
    parts = np.full(len(who), PARTS.index("head"))
    return Patches(outlines, people.layers(who), keys, colours, who, parts, eggs.tubes.chosen(who))


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.sqrt((vectors * vectors).sum(-1, keepdims=True)), 1e-6)


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """np.cross without its checks, which cost more than the product."""
    (a, b, c), (d, e, f) = first.T, second.T
    return np.stack((b * f - c * e, c * d - a * f, a * e - b * d), -1)


def _rim(away: np.ndarray) -> np.ndarray:
    """The circle (N, CORNERS, 3) of the unit sphere that the camera sees as its outline."""
    first = _normalised(_cross(away, np.array([1.0, 0.0, 0.0])))
    second = _cross(away, first)
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
    return np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None]


def _cap_outlines(away: np.ndarray, cap: Cap) -> tuple[np.ndarray, np.ndarray]:
    """The visible part of a cap (N, CORNERS, 3) and whether there is one (N): along the hairline, back along the rim.

    With c the cap's middle, w the direction away from the camera and r the reach, a point of the hairline is
    cos r c + sin r (cos f a + sin f b), where a leads from c towards the camera. It is in sight while
    cos f > (c w) cos r / (|a part of w| sin r). A point of the rim is covered while it is within r of c.
    """
    elevation, reach = np.deg2rad((cap.elevation, cap.reach))
    middle = np.array([0.0, np.sin(elevation), -np.cos(elevation)])
    behind = (away @ middle)[:, None]  # (N, 1): c w
    beside = np.sqrt(np.maximum(1 - behind * behind, 1e-9))
    towards = (behind * middle - away) / beside  # (N, 3): a
    aside = _cross(middle, towards)  # (N, 3): b
    steps = np.linspace(-1, 1, CORNERS // 2)[:, None]
    limit = behind * np.cos(reach) / (beside * np.sin(reach))
    angle = steps * np.arccos(np.clip(limit, -1, 1))[:, None]
    hairline = np.cos(reach) * middle + np.sin(reach) * (
        np.cos(angle) * towards[:, None] + np.sin(angle) * aside[:, None]
    )  # (N, CORNERS / 2, 3)
    nearest = (middle - behind * away) / beside  # (N, 3) the rim's point closest to the cap's middle
    angle = steps * np.arccos(np.clip(np.cos(reach) / beside, -1, 1))[:, None]
    rim = np.cos(angle) * nearest[:, None] + np.sin(angle) * _cross(nearest, away)[:, None]
    return np.concatenate((hairline, rim), 1), (limit < 1)[:, 0]


def _faces(people: People, eggs: Eggs, key: np.ndarray) -> Patches:
    """Every feature whose middle is in sight; corners beyond the rim are pulled back to it."""
    worn = np.stack([people.pieces[feature.wear] for feature in FEATURES], 1)  # (N, F)
    who, which = np.nonzero(worn & (eggs.away @ _MIDDLES.T < -0.06))
    away = eggs.away[who, None]  # (M, 1, 3)
    corners = _LOOPS[which]  # (M, CORNERS, 3)
    beyond = np.maximum((corners * away).sum(-1, keepdims=True), 0)
    outlines = eggs.pixels(who, _normalised(corners - beyond * away))
    parts = np.full(len(who), PARTS.index("head"))
    colours = people.colours(who, _MATERIALS[which])
    return Patches(outlines, people.layers(who), key[who] - 1e-4 * which, colours, who, parts, eggs.tubes.chosen(who))


def _noses_and_ears(people: People, eggs: Eggs, key: np.ndarray) -> list[Patches]:
    """Little tubes that stick out; on the far side the head covers them."""
    everyone = np.arange(len(key))
    with_ears = np.flatnonzero(people.pieces["ears"])
    return [
        _bump(people, eggs, everyone, key, ("nose_root", "nose"), (0.0060, 0.0095), 0.0),
        _bump(people, eggs, with_ears, key, ("left_ear", "left_temple"), (0.0115, 0.0140), 0.014),
        _bump(people, eggs, with_ears, key, ("right_ear", "right_temple"), (0.0115, 0.0140), 0.014),
    ]


def _bump(
    people: People, eggs: Eggs, who: np.ndarray, key: np.ndarray, ends: tuple[str, str],
    radius: tuple[float, float], margin: float,
) -> Patches:  # fmt: skip
    """One tube per head; in front of the face when it is nearer than the head's middle by a margin."""
    first, last = (SITES.index(end) for end in ends)
    start, end, own = people.pixels[who, first], people.pixels[who, last], people.depths[who, first]
    near = own < eggs.depth[who] - margin
    size = np.array(radius) * people.shape.head[who, None]
    both = np.ones_like(size)
    wide = np.maximum(size * eggs.scale[who, None], 0.3)
    return Patches(
        outlines=capsules(start, end, wide),
        layers=people.layers(who),
        keys=np.where(near, key[who] - 4e-3, key[who] + 1e-2),
        colours=people.colours(who, np.full(len(who), MATERIALS.index("blush"))),
        owners=who,
        parts=np.full(len(who), PARTS.index("head")),
        tubes=Tubes(start, end, wide, both, own[:, None] * both, size),
    )
