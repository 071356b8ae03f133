"""Samples by ticket: whole images or person crops, for training or for evaluation, whatever is broken on the disk."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from utils.core import images
from utils.core.geometry import Coding, Fit, Matrix, person_extent
from utils.core.poses import Origin
from utils.core.schema import KeypointSchema
from utils.data.augment import augmented
from utils.data.crops import Framing, cropped, draw_crop, trimmed_box
from utils.data.image_sources import Damaged, Recent, Source
from utils.data.recipe import Augment
from utils.data.records import Records
from utils.data.sample import People, Pixels, Sample, Size, sample_of

Finish = Callable[[Sample, np.random.Generator], Sample]


@dataclass(frozen=True)
class Ticket:
    """Which sample is wanted. With the seed it decides every random choice, whoever asks and whenever."""

    index: int
    epoch: int = 0
    copy: int = 0  # counts when an epoch has the same index more than once
    size: Size | None = None  # (height, width) of a rectangular batch


def trainable(records: Records, *, labelled_only: bool) -> Records:
    """Without crowd regions and, if wished, persons without a labelled keypoint; every image stays."""
    wanted = ~records.crowd
    if labelled_only:
        wanted &= (records.visibility > 0).any(1)
    return records.chosen_persons(wanted)


def usable_persons(records: Records, *, labelled_only: bool) -> Records:
    """The persons that crops can be cut from: a box with an extent and, for training, something labelled."""
    sides = records.boxes[:, 2:] - records.boxes[:, :2]
    wanted = ~records.crowd & (sides > 1).all(1)
    if labelled_only:
        wanted &= (records.visibility > 0).any(1)
    return records.chosen_persons(wanted)


class Samples(Dataset):
    """What all four kinds share: seeds, and the list of damaged images, which the workers have in common."""

    def __init__(self, source: Source, seed: int) -> None:
        self.source = source
        self.seed = seed
        self.damaged = torch.zeros(len(source), dtype=torch.uint8).share_memory_()  # by image

    def __len__(self) -> int:
        return len(self.source)

    def generator(self, ticket: Ticket) -> np.random.Generator:
        return np.random.default_rng((self.seed, ticket.epoch, ticket.index, ticket.copy))

    def reason(self, index: int) -> str:
        """Why an image cannot be used."""
        try:
            self.source.image(index, 1.0)
        except Damaged as error:
            return str(error)
        return f"{self.source.origin(index).path}: could not be read, but can now"


@dataclass(frozen=True)
class Healthy:
    """A source in which the next usable image stands in for one that is known to be damaged."""

    pixels: Pixels
    damaged: np.ndarray  # (I)

    def __len__(self) -> int:
        return len(self.pixels)

    def stand_in(self, index: int) -> int:
        for other in range(index, index + len(self)):
            if not self.damaged[other % len(self)]:
                return other % len(self)
        raise ValueError(f"none of the {len(self)} images can be used; python -m utils.data.check says why")

    def size(self, index: int) -> Size:
        return self.pixels.size(self.stand_in(index))

    def people(self, index: int) -> People:
        return self.pixels.people(self.stand_in(index))

    def origin(self, index: int) -> Origin:
        return self.pixels.origin(self.stand_in(index))

    def image(self, index: int, scale: float) -> tuple[np.ndarray, Matrix]:
        return self.pixels.image(self.stand_in(index), scale)


class TrainingSamples(Samples):
    """Samples by a recipe. One that meets a damaged image is made again, with the next image in its place.

    So a sample depends on which images are damaged, not on when that was found out.
    """

    def __init__(
        self,
        source: Source,
        *,
        size: Size,
        schema: KeypointSchema,
        augment: Augment,
        seed: int = 0,
        plain_from: int | None = None,  # the epoch from which the recipe's plain form holds
        finish: Finish | None = None,  # the user's own last step
    ) -> None:
        super().__init__(source, seed)
        self.size, self.schema, self.finish = size, schema, finish
        self.augment, self.plain_from = augment, plain_from

    def __getitem__(self, ticket: Ticket) -> Sample:
        while True:
            rng = self.generator(ticket)
            try:
                sample = self._make(Healthy(self.source.at(ticket.epoch), self.damaged.numpy()), ticket, rng)
            except Damaged as error:
                self.damaged[error.index] = 1
                continue
            return sample if self.finish is None else self._finished(sample, rng)

    def recipe(self, epoch: int) -> Augment:
        """What holds in an epoch."""
        return self.augment.plain() if self.plain_from is not None and epoch >= self.plain_from else self.augment

    def _make(self, pixels: Healthy, ticket: Ticket, rng: np.random.Generator) -> Sample:
        raise NotImplementedError

    def _finished(self, sample: Sample, rng: np.random.Generator) -> Sample:
        assert self.finish is not None
        done = self.finish(sample, rng)
        if not isinstance(done, Sample):
            raise ValueError(f"your own augmentation returned {type(done).__name__}; expected a Sample")
        if done.image.dtype != np.uint8 or done.image.shape != sample.image.shape:
            found = f"{done.image.dtype} {done.image.shape}"
            raise ValueError(f"your own augmentation returned an image {found}; expected uint8 {sample.image.shape}")
        return done


class TrainingImages(TrainingSamples):
    """Whole images and mosaics."""

    def __init__(self, source: Source, *, fit: Fit | None = None, **settings: Any) -> None:
        super().__init__(source, **settings)
        self.fit = fit

    def _make(self, pixels: Healthy, ticket: Ticket, rng: np.random.Generator) -> Sample:
        return augmented(
            pixels,
            ticket.index,
            size=self.size,
            augment=self.recipe(ticket.epoch),
            schema=self.schema,
            rng=rng,
            fit=self.fit,
        )


class TrainingCrops(TrainingSamples):
    """One person per sample. An index is a person, in the order of the images."""

    def __init__(self, source: Source, *, image_of: np.ndarray, coding: Coding = "published", **settings: Any) -> None:
        super().__init__(source, **settings)
        self.image_of = image_of  # (P) the image of every person
        self.first_of = np.searchsorted(image_of, np.arange(len(source)))  # (I) the first person of every image
        self.coding: Coding = coding

    def __len__(self) -> int:
        return len(self.image_of)

    def _make(self, pixels: Healthy, ticket: Ticket, rng: np.random.Generator) -> Sample:
        index = self._stand_in(ticket.index)
        image = int(self.image_of[index])
        return draw_crop(
            pixels.pixels,
            image,
            pixels.people(image).chosen(np.array([index - self.first_of[image]])),
            size=self.size,
            augment=self.recipe(ticket.epoch),
            schema=self.schema,
            rng=rng,
            coding=self.coding,
        )

    def _stand_in(self, index: int) -> int:
        """The person, or the next one whose image is not damaged."""
        for other in range(index, index + len(self)):
            if not self.damaged[int(self.image_of[other % len(self)])]:
                return other % len(self)
        raise ValueError("none of the images can be used; python -m utils.data.check says why")


class EvaluationSamples(Samples):
    """Samples as they are. One whose image is damaged is None; its image stays in the list that is evaluated."""

    def __init__(self, source: Source, *, size: Size) -> None:
        super().__init__(source, seed=0)
        self.size = size

    def __getitem__(self, ticket: Ticket) -> Sample | None:
        try:
            return self._make(ticket)
        except Damaged as error:
            self.damaged[error.index] = 1
            return None

    @property
    def image_ids(self) -> list[int | str]:
        """Every image that counts, the damaged ones too."""
        return [self.source.origin(index).image_id for index in range(len(self.source))]

    def _make(self, ticket: Ticket) -> Sample:
        raise NotImplementedError


class EvaluationImages(EvaluationSamples):
    """Letterboxed images; a ticket's size makes a rectangular one."""

    def __init__(self, source: Source, *, size: Size, fit: Fit | None = None) -> None:
        super().__init__(source, size=size)
        self.fit = fit

    def aspects(self) -> np.ndarray:
        """Height over width of every image, for rectangular batches."""
        sizes = np.array([self.source.size(index) for index in range(len(self.source))], np.float64).reshape(-1, 2)
        return sizes[:, 0] / sizes[:, 1]

    def _make(self, ticket: Ticket) -> Sample:
        size = ticket.size or self.size
        image, _ = self.source.image(ticket.index, 1.0)
        boxed, matrix = images.fit(image, size, self.fit, longest=max(self.size))
        people = self.source.people(ticket.index).carried(matrix).cut_to(size)
        return sample_of(boxed, people, self.source.origin(ticket.index).under(matrix))


class EvaluationCrops(EvaluationSamples):
    """One person per sample, with the score of its box; annotated boxes are trimmed as published, detected ones not."""

    def __init__(
        self,
        source: Source,
        *,
        size: Size,
        image_of: np.ndarray,
        scores: np.ndarray,
        trimmed: bool,
        coding: Coding = "published",
    ) -> None:
        super().__init__(Recent(source), size=size)
        self.image_of, self.scores, self.trimmed = image_of, scores, trimmed  # (P) the first two
        self.first_of = np.searchsorted(image_of, np.arange(len(source)))  # (I)
        self.coding: Coding = coding

    def __len__(self) -> int:
        return len(self.image_of)

    def _make(self, ticket: Ticket) -> Sample:
        image = int(self.image_of[ticket.index])
        person = self.source.people(image).chosen(np.array([ticket.index - self.first_of[image]]))
        box = person.boxes[0]
        box = trimmed_box(box, self.source.size(image)) if self.trimmed else box
        framing = Framing(*person_extent(box, self.size))
        sample = cropped(self.source, image, person, framing, size=self.size, coding=self.coding)
        return replace(sample, origin=replace(sample.origin, box_score=float(self.scores[ticket.index])))
