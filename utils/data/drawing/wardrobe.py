"""What drawn people wear and which colours they have."""

from dataclasses import dataclass

import numpy as np

MATERIALS = (
    "skin", "blush", "hair", "brow", "top", "trim", "bottom", "sole", "left_band", "right_band", "left_shoe",
    "right_shoe", "white", "iris", "lips", "seat", "sock",
)  # fmt: skip
_SKIN = ((255, 219, 188), (244, 200, 164), (232, 184, 144), (214, 160, 118), (190, 134, 94), (156, 104, 70),
         (122, 80, 54), (92, 60, 42))  # fmt: skip
_HAIR = ((28, 24, 24), (58, 40, 30), (94, 62, 38), (146, 96, 50), (206, 164, 96), (160, 64, 36), (150, 148, 146),
         (226, 222, 214))  # fmt: skip
_CLOTH = ((236, 236, 232), (44, 48, 58), (70, 98, 140), (44, 72, 120), (178, 60, 62), (204, 128, 58), (222, 186, 82),
          (92, 140, 98), (56, 104, 92), (130, 92, 140), (206, 148, 164), (120, 174, 196), (142, 128, 112), (92, 84, 78),
          (172, 84, 110), (232, 212, 180), (98, 116, 64), (64, 146, 158))  # fmt: skip
_BOTTOM = ((40, 48, 72), (62, 82, 120), (92, 114, 150), (44, 44, 48), (88, 80, 72), (152, 132, 104), (196, 184, 160),
           (72, 84, 64), (118, 52, 58), (208, 208, 204))  # fmt: skip
_PORT = ((224, 44, 44), (206, 30, 60), (240, 74, 48))  # red, the left side
_STARBOARD = ((30, 168, 80), (22, 148, 104), (72, 190, 66))  # green, the right side
_PLAIN_COLOURS = {"white": (250, 248, 244), "sole": (236, 234, 228), "sock": (232, 232, 234)}


@dataclass(frozen=True)
class Wardrobe:
    """The clothes of some people; every field has one row per person."""

    colours: np.ndarray  # (N, materials, 3) uint8
    sleeves: np.ndarray  # (N) 0 none, 1 short, 2 long
    legs: np.ndarray  # (N) 0 skirt, 1 shorts, 2 trousers
    hair: np.ndarray  # (N) 0 bald, 1 and 2 short, 3 long, 4 bun
    beard: np.ndarray  # (N) bool
    hat: np.ndarray  # (N) bool
    weave: np.ndarray  # (N) 0 and 1 plain, 2 striped, 3 two halves, 4 one broad band
    sign: np.ndarray  # (N) 0 nothing, 1 zip, 2 print on the chest, 3 print on the back, 4 open jacket

    @classmethod
    def draw(cls, generator: np.random.Generator, count: int) -> "Wardrobe":
        """Everybody gets dressed."""
        hair = np.searchsorted((0.06, 0.36, 0.62, 0.86), generator.random(count), side="right")
        return cls(
            colours=_colours(generator, count, hair),
            sleeves=np.searchsorted((0.14, 0.62), generator.random(count), side="right"),
            legs=np.searchsorted((0.16, 0.42), generator.random(count), side="right"),
            hair=hair,
            beard=(generator.random(count) < 0.22) & (hair < 3),
            hat=generator.random(count) < 0.14,
            weave=np.searchsorted((0.25, 0.5, 0.7, 0.85), generator.random(count), side="right"),
            sign=np.searchsorted((0.4, 0.55, 0.7, 0.85), generator.random(count), side="right"),
        )

    def pieces(self, stature: np.ndarray, seated: np.ndarray) -> dict[str, np.ndarray]:
        """Who (N) shows which piece; small figures (stature in pixels) do without what nobody would see."""
        return {
            "": np.ones(len(self.legs), bool),
            "bare_upper_arm": self.sleeves < 2,
            "bare_forearm": self.sleeves < 2,
            "short_sleeve": self.sleeves == 1,
            "long_sleeve": self.sleeves == 2,
            "bare_thigh": self.legs < 2,
            "bare_shin": self.legs < 2,
            "shorts": self.legs == 1,
            "trousers": self.legs == 2,
            "skirt": self.legs == 0,
            "long_hair": self.hair == 3,
            "bun": (self.hair == 4) & ~self.hat,
            "ears": self.hair != 3,
            "hat": self.hat,
            "short_hair": (self.hair > 0) & (self.hair < 3),
            "full_hair": self.hair >= 3,
            "beard": self.beard,
            "seat": seated,
            "fingers": stature >= 150,
            "mitten": stature < 150,
            "detail": stature >= 90,
        }

    def cloth(self, levels: int, hem: int) -> np.ndarray:
        """The material (N, levels) of each strip of the torso, from the hips up; below the hem it is the bottom's."""
        height = np.arange(levels)
        trim = np.zeros((len(self.weave), levels), bool)
        trim |= (self.weave == 2)[:, None] & (height // 2 % 2 == 0)
        trim |= (self.weave == 3)[:, None] & (height > 0.62 * levels)
        trim |= (self.weave == 4)[:, None] & (abs(height - 0.66 * levels) < 0.09 * levels)
        material = np.where(trim, MATERIALS.index("trim"), MATERIALS.index("top"))
        return np.where(height < hem, MATERIALS.index("bottom"), material)


def _colours(generator: np.random.Generator, count: int, hair: np.ndarray) -> np.ndarray:
    """The colour of every material on every person: (N, materials, 3)."""

    def pick(choices: tuple[tuple[int, int, int], ...]) -> np.ndarray:
        chosen = np.array(choices, np.int64)[generator.integers(len(choices), size=count)]
        return chosen + generator.integers(-9, 10, (count, 3))

    colours = np.zeros((count, len(MATERIALS), 3), np.int64)
    table = {"skin": pick(_SKIN), "hair": pick(_HAIR), "top": pick(_CLOTH), "trim": pick(_CLOTH)}
    table["bottom"], table["seat"] = pick(_BOTTOM), pick(_BOTTOM)
    table["left_band"], table["right_band"] = pick(_PORT), pick(_STARBOARD)
    table["left_shoe"], table["right_shoe"] = pick(_PORT), pick(_STARBOARD)
    table["hair"] = np.where((hair == 0)[:, None], table["skin"], table["hair"])
    table["blush"] = table["skin"] * (244, 206, 200) // 256
    table["lips"] = table["skin"] * (214, 138, 132) // 256
    table["brow"] = np.minimum(table["hair"], table["skin"]) * 170 // 256
    table["iris"] = generator.integers(20, 80, (count, 1)) + np.zeros((count, 3), np.int64)
    for material, colour in (table | _PLAIN_COLOURS).items():
        colours[:, MATERIALS.index(material)] = colour
    return np.clip(colours, 8, 250).astype(np.uint8)
