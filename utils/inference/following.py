"""Ids and calm keypoints on their way from the model to the drawing, clip by clip."""

from utils.core.poses import Poses
from utils.core.schema import KeypointSchema
from utils.inference.media.frames import Clip, Frame
from utils.inference.smooth import OneEuro
from utils.inference.track import Tracker, TrackSettings


class Following:
    """Gives the people of every video and stream ids of their own, and smooths them if that is wanted."""

    def __init__(self, schema: KeypointSchema, settings: TrackSettings | None = None, *, smooth: bool = False) -> None:
        self.schema, self.settings, self.smooth = schema, settings, smooth
        self._clip: Clip | None = None
        self._tracker = Tracker(schema, settings)
        self._calm: OneEuro | None = None

    def __call__(self, frame: Frame, poses: Poses) -> Poses:
        """A picture that stands alone has nobody to follow."""
        if frame.clip.kind == "image":
            return poses
        if frame.clip is not self._clip:
            self._clip, self._tracker = frame.clip, Tracker(self.schema, self.settings)
            self._calm = OneEuro(frame.clip.fps) if self.smooth else None
        tracked = self._tracker.update(poses)
        return self._calm.update(tracked) if self._calm else tracked
