"""People before the camera: dressed, posed and seen from anywhere, as patches to paint and keypoints to learn."""

import numpy as np

from utils.data.drawing.body import PARTS, SITES, People, Shape, draw_limbs, sites
from utils.data.drawing.canvas import Patches
from utils.data.drawing.head import Eggs, draw_heads
from utils.data.drawing.poses import PARENTS, draw_angles, skeletons
from utils.data.drawing.torso import draw_torsos
from utils.data.drawing.view import Figures, Placement, View
from utils.data.drawing.wardrobe import Wardrobe

SOLE = 0.016  # statures between the lowest site of a foot and the ground
_SOLES = [i for i, name in enumerate(SITES) if "sole" in name]
_FACE, _BOTH_SIDES = ("head",), ("left", "right")


def _keypoints() -> dict[str, tuple[tuple[str, ...], float]]:
    """On which parts each keypoint counts as seen, and how deep below the surface it may lie, in statures."""
    table: dict[str, tuple[tuple[str, ...], float]] = {"nose": (_FACE, 0.045)}
    for name, parts, depth in (
        ("eye", _FACE, 0.035),
        ("ear", _FACE, 0.045),
        ("shoulder", ("torso", "{side}_arm"), 0.085),
        ("elbow", ("{side}_arm",), 0.060),
        ("wrist", ("{side}_arm",), 0.055),
        ("hip", ("torso", "{side}_leg"), 0.100),
        ("knee", ("torso", "{side}_leg"), 0.080),  # the torso's skirt, that is
        ("ankle", ("{side}_leg",), 0.065),
    ):
        for side in _BOTH_SIDES:
            table[f"{side}_{name}"] = (tuple(part.format(side=side) for part in parts), depth)
    return table


KEYPOINTS = _keypoints()  # in COCO's order
_INDEX = [SITES.index(name) for name in KEYPOINTS]
_SLACK = np.array([depth for _, depth in KEYPOINTS.values()])
_SHOWS = np.array([[part in parts for part in PARTS] for parts, _ in KEYPOINTS.values()])
_ON_FACE = np.array([parts == _FACE for parts, _ in KEYPOINTS.values()])


def draw_people(generator: np.random.Generator, placement: Placement) -> Figures:
    """People of all builds, dressed and posed by chance, at given places."""
    count = len(placement.statures)
    shape, wardrobe = Shape.draw(generator, count), Wardrobe.draw(generator, count)
    angles, seated = draw_angles(generator, count)
    return pictured(placement, shape=shape, wardrobe=wardrobe, angles=angles, seated=seated)


def pictured(
    placement: Placement, *, shape: Shape, wardrobe: Wardrobe, angles: np.ndarray, seated: np.ndarray
) -> Figures:
    """People of a given shape, in given clothes and poses."""
    places, turns = skeletons(angles, shape.offsets())
    body = sites(shape, places, turns)  # (N, S, 3)
    ground = body[:, _SOLES, 1].min(1) - SOLE  # (N,)
    body[:, SITES.index("floor"), 1] = ground
    view = View.of(placement, ground)
    pixels, depths = view.seen(body)
    pieces = wardrobe.pieces(placement.statures, seated)
    people = People(view, shape, wardrobe, places, turns, pixels, depths, pieces)
    probes = pixels[:, _INDEX]
    middle = Eggs.of(people).middle[:, None]
    probes[:, _ON_FACE] += 0.12 * (
        middle - probes[:, _ON_FACE]
    )  # noses and ears stick out: look just inside of the tip
    return Figures(
        patches=Patches.joined((draw_limbs(people), draw_torsos(people), draw_heads(people))),
        keypoints=pixels[:, _INDEX],
        depths=depths[:, _INDEX],
        probes=probes,
        slack=_SLACK,
        shows=_SHOWS,
        shadow=_shadow(view, places, ground),
    )


def _shadow(view: View, places: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Where the light casts the bones' shadows on the ground: (N, bones, 2, 2) pixels."""
    height = places[..., 1] - ground[:, None]  # (N, J)
    # The light is the scene's, not the figure's: its direction is turned back by the figure's heading.
    yaw = np.deg2rad(view.placement.yaws)[:, None]
    right, forward = 0.45 * height, 0.25 * height
    x = places[..., 0] + right * np.cos(yaw) - forward * np.sin(yaw)
    z = places[..., 2] + right * np.sin(yaw) + forward * np.cos(yaw)
    pixels, _ = view.seen(np.stack((x, np.broadcast_to(ground[:, None], x.shape), z), -1))
    return np.stack((pixels[:, 1:], pixels[:, PARENTS[1:]]), 2)
