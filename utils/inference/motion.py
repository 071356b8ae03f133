"""Where tracked people will be in the next frame: a Kalman filter of constant speed for each of their points."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

# Standard deviations in person sizes, the square root of a person's area; an adult is some 2.2 sizes high.
MEASURED = 0.05  # of a point that a network is sure of
PUSHED = 0.03  # by how much a point's speed changes from frame to frame: a foot in mid-swing, at 25 frames per second
FIRST_SPEED = 0.2  # per frame, of somebody who was seen once: a runner close to the camera
OWN_SPEED = 0.8  # of its speed beside the body's, a limb keeps this share from frame to frame
LEAST_TRUST = 0.1


@dataclass(frozen=True)
class Motion:
    """The points of several people and how they move. In x and y they are equally uncertain."""

    places: np.ndarray  # (T, P, 2) pixels
    speeds: np.ndarray  # (T, P, 2) pixels per frame
    variance: np.ndarray  # (T, P) of the places, square pixels
    covariance: np.ndarray  # (T, P) of place and speed
    speed_variance: np.ndarray  # (T, P)
    sizes: np.ndarray  # (T) pixels

    @classmethod
    def starting(cls, places: np.ndarray, sizes: np.ndarray, trust: np.ndarray) -> "Motion":
        """People who are seen for the first time; trust (T, P) in each point is between 0 and 1."""
        speed_variance = np.square(FIRST_SPEED * sizes)[:, None]  # (T, 1)
        return cls(
            places=places,
            speeds=np.zeros_like(places),
            variance=_noise(sizes, trust),
            covariance=np.zeros(trust.shape),
            speed_variance=np.broadcast_to(speed_variance, trust.shape),
            sizes=sizes,
        )

    @classmethod
    def joined(cls, parts: Sequence["Motion"]) -> "Motion":
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def __getitem__(self, chosen: np.ndarray) -> "Motion":
        return Motion(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def predicted(self) -> "Motion":
        """One frame later. Limbs swing about a body that moves on: their speeds fade into its own."""
        body = np.median(self.speeds, 1, keepdims=True)  # (T, 1, 2)
        speeds = body + OWN_SPEED * (self.speeds - body)
        pushed = np.square(PUSHED * self.sizes)[:, None]  # (T, 1)
        return Motion(
            places=self.places + speeds,
            speeds=speeds,
            variance=self.variance + 2 * self.covariance + self.speed_variance + pushed / 4,
            covariance=self.covariance + self.speed_variance + pushed / 2,
            speed_variance=self.speed_variance + pushed,
            sizes=self.sizes,
        )

    def corrected(self, places: np.ndarray, sizes: np.ndarray, trust: np.ndarray) -> "Motion":
        """After everybody was seen at these places (T, P, 2), with this trust (T, P) in each."""
        total = self.variance + _noise(sizes, trust)  # (T, P)
        gain, speed_gain = self.variance / total, self.covariance / total
        surprise = places - self.places  # (T, P, 2)
        return Motion(
            places=self.places + gain[..., None] * surprise,
            speeds=self.speeds + speed_gain[..., None] * surprise,
            variance=(1 - gain) * self.variance,
            covariance=(1 - gain) * self.covariance,
            speed_variance=self.speed_variance - speed_gain * self.covariance,
            sizes=0.8 * self.sizes + 0.2 * sizes,  # who is half hidden for a moment has not shrunk
        )


def _noise(sizes: np.ndarray, trust: np.ndarray) -> np.ndarray:
    return np.square(MEASURED * sizes[:, None] / np.maximum(trust, LEAST_TRUST))
