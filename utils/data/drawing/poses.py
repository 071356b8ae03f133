"""How people hold themselves: ranges of joint angles for kinds of movement, and joints that turn them into a skeleton.

A body's own axes are x to its left, y up and z forward; lengths are in statures. Angles are degrees, and positive for
the movement that the joint is made for: knees and elbows bend, arms and legs go forward, out, and turn outward.
"""

from collections.abc import Mapping

import numpy as np

from utils.core.schema import mirror_name
from utils.data.drawing.view import rotations

# Joint, parent, and its place seen from the parent, for the left side; the right side is its mirror image.
_LEFT_JOINTS = (
    ("shoulder", "chest", (0.099, 0.130, -0.004)),
    ("elbow", "shoulder", (0.0, -0.168, 0.0)),
    ("wrist", "elbow", (0.0, -0.148, 0.0)),
    ("hip", "pelvis", (0.054, 0.0, 0.0)),
    ("knee", "hip", (0.0, -0.240, 0.0)),
    ("ankle", "knee", (0.0, -0.238, 0.0)),
)
_SPINE = (
    ("pelvis", "", (0.0, 0.0, 0.0)),
    ("belly", "pelvis", (0.0, 0.035, 0.0)),
    ("chest", "belly", (0.0, 0.105, 0.0)),
    ("neck", "chest", (0.0, 0.160, -0.008)),
    ("head", "neck", (0.0, 0.052, 0.012)),
)
_SIDES = {"left": 1.0, "right": -1.0}
_JOINTS = _SPINE + tuple(
    (f"{side}_{name}", parent if parent in ("chest", "pelvis") else f"{side}_{parent}", (sign * x, y, z))
    for side, sign in _SIDES.items()
    for name, parent, (x, y, z) in _LEFT_JOINTS
)
JOINTS = tuple(name for name, _, _ in _JOINTS)
PARENTS = tuple(JOINTS.index(parent) if parent else -1 for _, parent, _ in _JOINTS)
OFFSETS = np.array([offset for _, _, offset in _JOINTS])  # (J, 3)

# What a movement turns: angle -> (joint, axis, sign). Axes: 0 bends forward or back, 1 twists, 2 leads sideways.
_MIDDLE_TURNS = {
    "tip": (("pelvis", 0, 1.0),),
    "lean": (("belly", 0, 0.55), ("chest", 0, 0.45)),
    "bow": (("belly", 2, 0.5), ("chest", 2, 0.5)),
    "twist": (("belly", 1, 0.5), ("chest", 1, 0.5)),
    "nod": (("neck", 0, 0.5), ("head", 0, 0.5)),
    "look": (("neck", 1, 0.4), ("head", 1, 0.6)),
    "tilt": (("neck", 2, 0.5), ("head", 2, 0.5)),
}
_LEFT_TURNS = {
    "arm_forward": ("shoulder", 0, -1.0),
    "arm_out": ("shoulder", 2, 1.0),
    "arm_turn": ("shoulder", 1, 1.0),
    "elbow": ("elbow", 0, -1.0),
    "palm": ("wrist", 1, 1.0),
    "wrist": ("wrist", 2, -1.0),
    "leg_forward": ("hip", 0, -1.0),
    "leg_out": ("hip", 2, 1.0),
    "leg_turn": ("hip", 1, 1.0),
    "knee": ("knee", 0, 1.0),
    "toes": ("ankle", 0, -1.0),
}
_TURNS = _MIDDLE_TURNS | {
    f"{side}_{name}": ((f"{side}_{joint}", axis, gain if axis == 0 else gain * sign),)
    for side, sign in _SIDES.items()
    for name, (joint, axis, gain) in _LEFT_TURNS.items()
}
ANGLES = tuple(_TURNS)


def _gains() -> np.ndarray:
    """How much each angle turns each joint about each axis: (angles, J, 3)."""
    gains = np.zeros((len(ANGLES), len(JOINTS), 3))
    for row, turns in enumerate(_TURNS.values()):
        for joint, axis, gain in turns:
            gains[row, JOINTS.index(joint), axis] = gain
    return gains


_GAINS = _gains()

LIMITS = {  # what a healthy joint can do
    "lean": (-30, 100), "bow": (-35, 35), "twist": (-50, 50), "nod": (-45, 45), "look": (-75, 75), "tilt": (-35, 35),
    "arm_forward": (-55, 180), "arm_out": (-10, 180), "arm_turn": (-100, 100), "elbow": (0, 148), "palm": (-90, 90),
    "wrist": (-60, 60), "leg_forward": (-30, 125), "leg_out": (-15, 75), "leg_turn": (-35, 50), "knee": (0, 150),
    "toes": (-50, 25), "tip": (-30, 90),
}  # fmt: skip

_AT_EASE = {
    "tip": (0, 0), "lean": (-3, 6), "bow": (-5, 5), "twist": (-12, 12), "nod": (-8, 18), "look": (-35, 35),
    "tilt": (-9, 9), "arm_forward": (-14, 22), "arm_out": (6, 18), "arm_turn": (-45, 5), "elbow": (6, 42),
    "palm": (-35, 20), "wrist": (-12, 12), "leg_forward": (-6, 9), "leg_out": (2, 11), "leg_turn": (0, 22),
    "knee": (0, 11), "toes": (-3, 5),
}  # fmt: skip

# Each movement: how often it is drawn, and where it differs from standing at ease. "left_" and "right_" may differ;
# every pose is mirrored half of the time. In a gait the sides move against each other.
MOVEMENTS: Mapping[str, tuple[float, Mapping[str, tuple[float, float]]]] = {
    "stand": (3.0, {}),
    "hands_on_hips": (1.0, {"arm_forward": (-18, -6), "arm_out": (42, 54), "arm_turn": (-88, -72), "elbow": (88, 104)}),
    "one_hand_on_hip": (1.0, {
        "left_arm_forward": (-18, -6), "left_arm_out": (42, 54), "left_arm_turn": (-88, -72), "left_elbow": (88, 104),
    }),
    "wave": (1.5, {
        "left_arm_out": (85, 130), "left_arm_turn": (65, 95), "left_elbow": (35, 95), "left_arm_forward": (-5, 15),
    }),
    "phone": (0.8, {"left_arm_forward": (28, 48), "left_elbow": (128, 142), "left_arm_turn": (-15, 15)}),
    "arms_crossed": (0.8, {"arm_forward": (22, 34), "arm_turn": (-72, -55), "elbow": (92, 106), "arm_out": (8, 16)}),
    "arms_up": (1.2, {"arm_out": (132, 168), "elbow": (0, 50), "arm_turn": (30, 90), "look": (-20, 20)}),
    "arms_wide": (0.8, {"arm_out": (65, 100), "elbow": (0, 35), "arm_turn": (-40, 90), "leg_out": (4, 24)}),
    "point": (0.8, {"left_arm_forward": (70, 110), "left_elbow": (0, 15), "left_arm_out": (-5, 40)}),
    "bend": (0.8, {
        "tip": (20, 45), "lean": (25, 50), "arm_forward": (55, 110), "knee": (0, 18), "leg_forward": (22, 45),
        "nod": (-30, 0), "elbow": (0, 30),
    }),
    "squat": (0.9, {
        "tip": (10, 28), "lean": (5, 25), "leg_forward": (85, 112), "knee": (98, 132), "leg_out": (8, 28),
        "arm_forward": (45, 95), "toes": (5, 20), "nod": (-28, 0), "elbow": (5, 70), "leg_turn": (5, 25),
    }),
    "sit": (1.8, {
        "leg_forward": (82, 96), "knee": (76, 98), "leg_out": (3, 16), "arm_forward": (12, 42), "elbow": (22, 78),
        "arm_turn": (-50, -10), "lean": (-6, 14),
    }),
    "kick": (0.7, {
        "left_leg_forward": (40, 92), "left_knee": (0, 55), "arm_out": (18, 70), "right_knee": (4, 20),
        "elbow": (10, 60), "lean": (-12, 8),
    }),
    "throw": (0.9, {
        "left_arm_out": (70, 120), "left_arm_turn": (55, 95), "left_elbow": (60, 110), "right_arm_forward": (30, 95),
        "left_leg_forward": (-25, -8), "right_leg_forward": (18, 42), "right_knee": (15, 45), "left_knee": (5, 30),
        "twist": (10, 40),
    }),
    "lunge": (0.7, {
        "left_leg_forward": (55, 85), "left_knee": (65, 95), "right_leg_forward": (-22, -8), "right_knee": (15, 60),
        "arm_out": (5, 80), "right_toes": (-30, -10),
    }),
    "dance": (1.0, {
        "arm_out": (20, 150), "arm_turn": (-60, 90), "elbow": (10, 110), "bow": (-18, 18), "twist": (-28, 28),
        "leg_out": (3, 38), "knee": (0, 45), "leg_forward": (-5, 40),
    }),
    "walk_gait": (3.0, {
        "arm_forward": (-32, 32), "elbow": (10, 42), "leg_forward": (-22, 30), "knee": (34, 4), "leg_out": (1, 4),
        "arm_out": (5, 11), "lean": (0, 8), "leg_turn": (0, 8), "toes": (-18, 4),
    }),
    "run_gait": (1.8, {
        "arm_forward": (-52, 42), "elbow": (72, 106), "leg_forward": (-24, 68), "knee": (36, 88), "leg_out": (0, 4),
        "arm_out": (8, 16), "arm_turn": (-32, -12), "tip": (4, 12), "lean": (3, 12), "leg_turn": (0, 4),
        "toes": (-35, 0), "look": (-15, 15),
    }),
}  # fmt: skip


def _spans() -> np.ndarray:
    """Low and high of every angle in every movement: (movements, angles, 2)."""
    spans = np.zeros((len(MOVEMENTS), len(ANGLES), 2))
    for row, (_, own) in enumerate(MOVEMENTS.values()):
        for column, angle in enumerate(ANGLES):
            plain = angle.removeprefix("left_").removeprefix("right_")
            low, high = own.get(angle, own.get(plain, _AT_EASE[plain]))
            spans[row, column] = np.clip((low, high), *LIMITS[plain])
    return spans


_SPANS = _spans()
_CHANCES = np.cumsum([chance for chance, _ in MOVEMENTS.values()])
_MIRROR = np.array([ANGLES.index(mirror_name(angle)) for angle in ANGLES])
_MIRROR_SIGN = np.array([-1.0 if angle in ("bow", "twist", "look", "tilt") else 1.0 for angle in ANGLES])
_SEATED = np.array([name == "sit" for name in MOVEMENTS])
_GAITS = np.array([name.endswith("_gait") for name in MOVEMENTS])
_WITH_STRIDE = np.array([angle.endswith(("arm_forward", "leg_forward", "knee")) for angle in ANGLES])
_STRIDE_SIGN = np.array([(-1.0 if "arm" in a else 1.0) * (-1.0 if a.startswith("right") else 1.0) for a in ANGLES])


def draw_angles(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles (N, angles) in degrees of that many people in poses of all kinds, and who of them sits (N)."""
    movement = np.searchsorted(_CHANCES, generator.random(count) * _CHANCES[-1], side="right")  # (N,)
    share = generator.random((count, len(ANGLES)))
    angles = angles_of(movement, share, phase=generator.random(count))
    mirrored = generator.random(count) < 0.5
    angles = np.where(mirrored[:, None], angles[:, _MIRROR] * _MIRROR_SIGN, angles)
    return angles, _SEATED[movement]


def angles_of(movement: np.ndarray, share: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Angles (N, angles) of movements (N), each a share (N, angles) between its ends; the phase (N) counts strides."""
    stride = np.sin(2 * np.pi * phase)[:, None] * _STRIDE_SIGN  # (N, angles)
    in_step = 0.5 + 0.44 * stride + 0.12 * (share - 0.5)
    share = np.where(_GAITS[movement][:, None] & _WITH_STRIDE, in_step, share)
    span = _SPANS[movement]  # (N, angles, 2)
    return span[..., 0] + share * (span[..., 1] - span[..., 0])


def skeletons(angles: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where every joint is (N, J, 3) and how it is turned (N, J, 3, 3), in the body's own axes."""
    local = rotations(np.einsum("na,ajx->njx", angles, _GAINS))  # (N, J, 3, 3)
    places, turns = np.zeros_like(offsets), np.empty_like(local)
    turns[:, 0] = local[:, 0]
    for joint, parent in enumerate(PARENTS[1:], 1):
        places[:, joint] = places[:, parent] + (turns[:, parent] @ offsets[:, joint, :, None])[..., 0]
        turns[:, joint] = turns[:, parent] @ local[:, joint]
    return places, turns
