"""Bodies: how people are built, the named places on them, and their limbs, hands and shoes as tapered tubes.

Left and right can always be told apart, from behind as well: like a ship's lights, the left wrist and shoe are red
(port) and the right ones green (starboard). Whoever trains with mirrored images takes this hint away, as red is then on
either side; what remains is what real people offer: which way the face, the chest and the feet point.
"""

from dataclasses import dataclass

import numpy as np

from utils.data.drawing.canvas import NOBODY, Patches, Tubes, capsules
from utils.data.drawing.poses import JOINTS, OFFSETS
from utils.data.drawing.view import View, scale_at
from utils.data.drawing.wardrobe import MATERIALS, Wardrobe

PARTS = ("head", "torso", "left_arm", "right_arm", "left_leg", "right_leg", "seat")


@dataclass(frozen=True)
class Tube:
    """A tapered limb from one site towards another; all lengths in statures."""

    part: str
    start: str
    end: str
    radius: tuple[float, float]
    material: str
    span: tuple[float, float] = (0.0, 1.0)  # which stretch of the way from start to end
    caps: tuple[float, float] = (0.0, 0.0)  # how much either end is rounded off by the light
    nearer: float = 0.0  # painted as if this much nearer the camera
    wear: str = ""  # only with this piece of clothing (see Wardrobe.wears)


Site = tuple[str, tuple[float, float, float]]  # a joint, and a place beside it
_MIDDLE_SITES: dict[str, Site] = {
    "neck_root": ("chest", (0, 0.158, -0.010)),
    "throat": ("head", (0, 0.022, 0.006)),
    "nape": ("head", (0, 0.020, -0.052)),
    "crown": ("head", (0, 0.100, -0.020)),
    "plait": ("neck", (0, -0.050, -0.055)),
    "bun": ("head", (0, 0.105, -0.048)),
    "nose_root": ("head", (0, 0.062, 0.070)),
    "nose": ("head", (0, 0.043, 0.083)),
    "brim_root": ("head", (0, 0.094, 0.045)),
    "brim_tip": ("head", (0, 0.090, 0.100)),
    "seat_top": ("pelvis", (0, -0.082, -0.010)),
    "floor": ("pelvis", (0, -0.082, -0.010)),  # moved down to the ground once that is known
}
_LEFT_SITES: dict[str, Site] = {
    "eye": ("head", (0.0195, 0.0635, 0.0720)),
    "ear": ("head", (0.0535, 0.052, 0.004)),
    "temple": ("head", (0.0540, 0.065, 0.002)),
    "knuckles": ("wrist", (0.000, -0.048, 0.0)),
    "thumb_root": ("wrist", (-0.003, -0.014, 0.014)),
    "thumb_tip": ("wrist", (-0.012, -0.050, 0.036)),
    "mitten": ("wrist", (-0.006, -0.084, 0.002)),
    "heel": ("ankle", (0, -0.026, -0.020)),
    "toe": ("ankle", (0.006, -0.034, 0.092)),
    "sole_back": ("ankle", (0, -0.042, -0.022)),
    "sole_front": ("ankle", (0.006, -0.046, 0.094)),
}
_FINGERS = ((0.0145, 0.090), (0.005, 0.098), (-0.005, 0.093), (-0.0145, 0.082))  # how far aside, how long


def _all_sites() -> dict[str, Site]:
    """The middle ones, the left ones with their fingers, and the mirror images of those."""
    left = dict(_LEFT_SITES)
    for i, (aside, reach) in enumerate(_FINGERS):
        left[f"finger_{i}_root"] = ("wrist", (0.0, -0.044, 0.85 * aside))
        left[f"finger_{i}_tip"] = ("wrist", (-0.008, -reach, 1.45 * aside))
    sites = dict(_MIDDLE_SITES)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for name, (joint, (x, y, z)) in left.items():
            sites[f"{side}_{name}"] = (joint if joint == "head" else f"{side}_{joint}", (sign * x, y, z))
    return sites


_SITES = _all_sites()
SITES = (*JOINTS, *_SITES)
_SITE_JOINTS = np.array([*range(len(JOINTS)), *(JOINTS.index(joint) for joint, _ in _SITES.values())])
_SITE_OFFSETS = np.array([*((0.0, 0.0, 0.0) for _ in JOINTS), *(place for _, place in _SITES.values())])
_ON_HEAD = np.array([False] * len(JOINTS) + [joint == "head" for joint, _ in _SITES.values()])


def _side_tubes(side: str) -> list[Tube]:
    arm, leg = f"{side}_arm", f"{side}_leg"
    shoulder, elbow, wrist = f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"
    hip, knee, ankle = f"{side}_hip", f"{side}_knee", f"{side}_ankle"
    fingers = [
        Tube(arm, f"{side}_finger_{i}_root", f"{side}_finger_{i}_tip", (0.0082, 0.0062), "skin", caps=(0, 1),
             nearer=0.055 + 0.001 * i, wear="fingers") for i in range(4)
    ]  # fmt: skip
    return [
        Tube(arm, shoulder, elbow, (0.032, 0.0255), "skin", nearer=0.065, caps=(0.6, 0), wear="bare_upper_arm"),
        Tube(arm, elbow, wrist, (0.0265, 0.0175), "skin", nearer=0.070, wear="bare_forearm"),
        Tube(arm, elbow, wrist, (0.0290, 0.0260), "skin", span=(0.0, 0.40), nearer=0.0701, wear="bare_forearm"),
        Tube(arm, shoulder, elbow, (0.0360, 0.0345), "top", span=(0.0, 0.52), caps=(0.6, 0), nearer=0.066,
             wear="short_sleeve"),
        Tube(arm, shoulder, elbow, (0.0350, 0.0300), "top", caps=(0.6, 0), nearer=0.066, wear="long_sleeve"),
        Tube(arm, elbow, wrist, (0.0310, 0.0235), "top", span=(0.0, 0.90), nearer=0.071, wear="long_sleeve"),
        Tube(arm, elbow, wrist, (0.0250, 0.0250), f"{side}_band", span=(0.86, 0.97), nearer=0.072),
        Tube(arm, wrist, f"{side}_knuckles", (0.0175, 0.0215), "skin", caps=(0, 0.7), nearer=0.054),
        Tube(arm, f"{side}_knuckles", f"{side}_mitten", (0.0190, 0.0120), "skin", caps=(0, 1), nearer=0.055,
             wear="mitten"),
        *fingers,
        Tube(arm, f"{side}_thumb_root", f"{side}_thumb_tip", (0.0105, 0.0072), "skin", caps=(0.5, 1), nearer=0.058),
        Tube(leg, hip, knee, (0.0560, 0.0410), "skin", span=(0.05, 1.0), nearer=-0.015, wear="bare_thigh"),
        Tube(leg, knee, ankle, (0.0400, 0.0250), "skin", nearer=0.002, wear="bare_shin"),
        Tube(leg, knee, ankle, (0.0385, 0.0400), "skin", span=(0.10, 0.34), nearer=0.0021, wear="bare_shin"),
        Tube(leg, hip, knee, (0.0610, 0.0600), "bottom", span=(0.05, 0.72), nearer=-0.011, wear="shorts"),
        Tube(leg, hip, knee, (0.0600, 0.0455), "bottom", span=(0.05, 1.0), nearer=-0.011, wear="trousers"),
        Tube(leg, knee, ankle, (0.0450, 0.0370), "bottom", span=(0.0, 0.94), nearer=0.005, wear="trousers"),
        Tube(leg, knee, ankle, (0.0300, 0.0275), "sock", span=(0.80, 1.0), nearer=0.003, wear="bare_shin"),
        Tube(leg, ankle, f"{side}_heel", (0.0275, 0.0245), f"{side}_shoe", nearer=0.0035),
        Tube(leg, f"{side}_sole_back", f"{side}_sole_front", (0.0180, 0.0150), "sole", caps=(1, 1), nearer=0.004),
        Tube(leg, f"{side}_heel", f"{side}_toe", (0.0245, 0.0185), f"{side}_shoe", caps=(1, 1), nearer=0.006),
    ]  # fmt: skip


TUBES = (
    *_side_tubes("left"),
    *_side_tubes("right"),
    Tube("torso", "neck_root", "throat", (0.034, 0.030), "skin", nearer=0.065),
    Tube("head", "nape", "plait", (0.046, 0.052), "hair", caps=(1, 1), nearer=0.020, wear="long_hair"),
    Tube("head", "bun", "bun", (0.030, 0.030), "hair", caps=(1, 1), nearer=0.060, wear="bun"),
    Tube("head", "brim_root", "brim_tip", (0.036, 0.030), "trim", caps=(0, 0.5), nearer=0.100, wear="hat"),
    Tube("seat", "seat_top", "floor", (0.075, 0.070), "seat", caps=(0, 0), nearer=-0.12, wear="seat"),
)


@dataclass(frozen=True)
class Shape:
    """How some people are built, as factors on the average body; each (N)."""

    girth: np.ndarray
    shoulders: np.ndarray
    hips: np.ndarray
    legs: np.ndarray
    arms: np.ndarray
    head: np.ndarray

    @classmethod
    def draw(cls, generator: np.random.Generator, count: int) -> "Shape":
        """Adults of all builds and, every sixth time, a child."""
        share = generator.random((6, count))
        low = np.array([0.86, 0.92, 0.92, 0.94, 0.95, 1.02])[:, None]
        high = np.array([1.26, 1.10, 1.14, 1.05, 1.04, 1.16])[:, None]
        factors = low + share * (high - low)  # (6, N)
        child = generator.random(count) < 1 / 6
        factors[3:5] = np.where(child, factors[3:5] * 0.86, factors[3:5])
        factors[5] = np.where(child, factors[5] * 1.30, factors[5])
        return cls(*factors)

    def offsets(self) -> np.ndarray:
        """The joints' places (N, J, 3) seen from their parents."""
        offsets = np.repeat(OFFSETS[None], len(self.girth), 0)
        for joint, name in enumerate(JOINTS):
            if name.endswith("shoulder"):
                offsets[:, joint, 0] *= self.shoulders
            elif name.endswith("hip"):
                offsets[:, joint, 0] *= self.hips
            elif name.endswith(("elbow", "wrist")):
                offsets[:, joint] *= self.arms[:, None]
            elif name.endswith(("knee", "ankle")):
                offsets[:, joint] *= self.legs[:, None]
        return offsets


def sites(shape: Shape, places: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """All named places of the body (N, S, 3), from joints (N, J, 3) and how they are turned (N, J, 3, 3)."""
    offsets = _SITE_OFFSETS * np.where(_ON_HEAD, shape.head[:, None], 1.0)[..., None]  # (N, S, 3)
    return places[:, _SITE_JOINTS] + (turns[:, _SITE_JOINTS] @ offsets[..., None])[..., 0]


@dataclass(frozen=True)
class People:
    """People in their clothes and poses, before the camera."""

    view: View
    shape: Shape
    wardrobe: Wardrobe
    places: np.ndarray  # (N, J, 3) of the joints
    turns: np.ndarray  # (N, J, 3, 3)
    pixels: np.ndarray  # (N, S, 2) of the sites
    depths: np.ndarray  # (N, S)
    pieces: dict[str, np.ndarray]  # who (N) shows which piece of clothing

    def colours(self, who: np.ndarray, materials: np.ndarray) -> np.ndarray:
        return self.wardrobe.colours[who, materials]

    def layers(self, who: np.ndarray) -> np.ndarray:
        return self.view.placement.layers[who]


_STARTS, _ENDS = (np.array([SITES.index(getattr(tube, end)) for tube in TUBES]) for end in ("start", "end"))
_SPANS, _RADII, _CAPS = (np.array([getattr(tube, name) for tube in TUBES]) for name in ("span", "radius", "caps"))
_NEARER = np.array([tube.nearer for tube in TUBES])
_MATERIALS = np.array([MATERIALS.index(tube.material) for tube in TUBES])
_PARTS = np.array([PARTS.index(tube.part) for tube in TUBES])


def draw_limbs(people: People) -> Patches:
    """Arms, legs, neck and whatever else is a tapered tube."""
    worn = np.stack([people.pieces[tube.wear] for tube in TUBES], 1)  # (N, T)
    who, which = np.nonzero(worn)  # (M,)
    low, high = _SPANS[which].T[..., None]  # (M, 1)
    sites = np.concatenate((people.pixels, people.depths[..., None]), -1)  # (N, S, 3)
    first, last = sites[who, _STARTS[which]], sites[who, _ENDS[which]]  # (M, 3)
    start, end = first + low * (last - first), first + high * (last - first)
    depth = np.stack((start[:, 2], end[:, 2]), 1)  # (M, 2)
    thickness = _RADII[which] * np.sqrt(people.shape.girth)[who, None]  # (M, 2)
    placement = people.view.placement
    radius = np.maximum(thickness * scale_at(depth, placement.statures[who, None], placement), 0.45)
    return Patches(
        outlines=capsules(start[:, :2], end[:, :2], radius),
        layers=people.layers(who),
        keys=(first[:, 2] + last[:, 2]) / 2 - _NEARER[which],  # sleeves and bands are as near as their whole limb
        colours=people.colours(who, _MATERIALS[which]),
        owners=np.where(_PARTS[which] == PARTS.index("seat"), NOBODY, who),
        parts=_PARTS[which],
        tubes=Tubes(start[:, :2], end[:, :2], radius, _CAPS[which], depth, thickness),
    )
