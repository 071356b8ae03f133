"""Loaders: samples in batches, by workers, from any step of any epoch, for any number of ranks."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.utils.data import DataLoader

from utils.core import images
from utils.core.console import log
from utils.core.contract import ModelSpec
from utils.core.geometry import Coding, Fit
from utils.core.poses import Batch
from utils.data.batches import collate
from utils.data.dataset import (
    EvaluationCrops,
    EvaluationImages,
    EvaluationSamples,
    Finish,
    Samples,
    TrainingCrops,
    TrainingImages,
    TrainingSamples,
    trainable,
    usable_persons,
)
from utils.data.image_cache import DiskCache, ImageCache, MemoryCache
from utils.data.image_sources import Files, Source
from utils.data.recipe import Augment
from utils.data.records import Records
from utils.data.sampler import EvaluationSampler, Plan, TrainingSampler, class_weights, image_weights


@dataclass(frozen=True)
class Loading:
    """How samples are loaded; nothing here changes what they are."""

    batch_size: int = 16  # per rank
    workers: int = 4
    seed: int = 0
    rank: int = 0
    world: int = 1
    cache: Literal["none", "memory", "disk"] = "none"
    cache_folder: str = ".image_cache"
    rectangular: bool = False  # evaluation batches as flat as their images
    stride: int = 32  # of rectangular batches
    pad: float = 0.0  # strides added to their sides

    def __post_init__(self) -> None:
        if self.pad and not self.rectangular:
            raise ValueError(f"--pad {self.pad:g}: square images get no extra room; add --rect, or leave it out")

    @property
    def plan(self) -> Plan:
        return Plan(self.batch_size, self.seed, self.rank, self.world)


def worker_init(worker: int) -> None:
    """One thread per worker: they are the parallelism."""
    images.one_thread()
    torch.set_num_threads(1)


class Loader:
    """Batches of one epoch after another. Damaged images are named once, by the main process."""

    def __init__(self, samples: Samples, sampler: TrainingSampler | EvaluationSampler, loading: Loading) -> None:
        workers = min(loading.workers, os.cpu_count() or 1)  # more than cores only take turns
        self.samples, self.sampler = samples, sampler
        self._named = np.zeros(len(samples.damaged), bool)
        self._batches = DataLoader(
            samples,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=worker_init,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # torch draws from it for every epoch; ours must not depend on that
        )

    def __len__(self) -> int:
        """Batches in an epoch, on this rank."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            self._name_damaged()
            if batch is not None:
                yield batch
        self._name_damaged()

    @property
    def damaged_count(self) -> int:
        """Images that could not be used so far."""
        return int(self.samples.damaged.sum())

    def worker_processes(self) -> list[int]:
        """The ids of the workers that run at the moment, for measurements."""
        return [worker.pid for worker in getattr(self._batches._iterator, "_workers", ())]

    def _name_damaged(self) -> None:
        for index in np.flatnonzero(self.samples.damaged.numpy() > self._named):
            what = "the next one stands in" if isinstance(self.samples, TrainingSamples) else "counted without poses"
            log.warning("%s; %s", self.samples.reason(int(index)), what)
            self._named[index] = True


class TrainingLoader(Loader):
    """Batches by a recipe; `epoch(3, start=120)` goes on where a run has stopped."""

    sampler: TrainingSampler
    weights: np.ndarray | None = None  # how often each sample should come; None: once per epoch

    def epoch(self, number: int, *, start: int = 0, weights: np.ndarray | None = None) -> Iterator[Batch]:
        """The batches of an epoch from a step on; weights make some samples more frequent."""
        self.sampler.epoch, self.sampler.start = number, start
        self.sampler.weights = self.weights if weights is None else weights
        return iter(self)


class EvaluationLoader(Loader):
    """Every sample once, on one of the ranks."""

    samples: EvaluationSamples

    @property
    def image_ids(self) -> list[int | str]:
        """Every image that counts in the evaluation, those without a batch too."""
        return self.samples.image_ids


# ---------------------------------------------------------------------------------------------- ways in


def training_loader(
    source: Records | Source,
    spec: ModelSpec,
    augment: Augment,
    loading: Loading,
    *,
    plain_from: int | None = None,
    finish: Finish | None = None,
    fit: Fit | None = None,
    coding: Coding = "published",
    by_class: bool = False,
) -> TrainingLoader:
    """Batches for training: of annotated files, or of any other source, for instance one that draws.

    `by_class`: images with many people, above all of rare classes, come more often than others.
    """
    common = {
        "size": spec.input_size,
        "schema": spec.schema,
        "augment": augment,
        "seed": loading.seed,
        "plain_from": plain_from,
        "finish": finish,
    }
    if spec.view == "person":
        records = usable_persons(_as_records(source), labelled_only=True)
        people = records.image_of_person()
        samples = TrainingCrops(_files(records, loading), image_of=people, coding=coding, **common)
    else:
        if isinstance(source, Records):
            records = trainable(source, labelled_only=augment.labelled_only)
            source = _files(records, loading, least=max(spec.input_size))
        samples = TrainingImages(source, fit=fit, **common)
    if not len(samples):
        raise ValueError("nothing to train on: no image, or nobody with a labelled keypoint for person crops")
    loader = TrainingLoader(samples, TrainingSampler(len(samples), loading.plan), loading)
    if by_class:
        loader.weights = _weights_by_class(source if spec.view == "image" else records, spec)
    return loader


def _weights_by_class(source: Records | Source, spec: ModelSpec) -> np.ndarray:
    records = source.records if isinstance(source, Files) else _as_records(source)
    weights = class_weights(records, len(spec.classes))
    return weights[records.classes] if spec.view == "person" else image_weights(records, weights)


def evaluation_loader(
    records: Records,
    spec: ModelSpec,
    loading: Loading,
    *,
    detected: bool = False,
    fit: Fit | None = None,
    coding: Coding = "published",
) -> EvaluationLoader:
    """Batches for evaluation; `detected`: the records are a detector's boxes, not annotated persons."""
    if spec.view == "person":
        records = usable_persons(records, labelled_only=False)
        samples = EvaluationCrops(
            _files(records, loading),
            size=spec.input_size,
            image_of=records.image_of_person(),
            scores=records.scores,
            trimmed=not detected,
            coding=coding,
        )
        return EvaluationLoader(samples, EvaluationSampler(len(samples), loading.plan), loading)
    records = trainable(records, labelled_only=False)
    samples = EvaluationImages(_files(records, loading), size=spec.input_size, fit=fit)
    sampler = EvaluationSampler(
        len(samples),
        loading.plan,
        aspects=samples.aspects() if loading.rectangular else None,
        longest=max(spec.input_size),
        stride=loading.stride,
        pad=loading.pad,
    )
    return EvaluationLoader(samples, sampler, loading)


def _as_records(source: Records | Source) -> Records:
    if not isinstance(source, Records):
        raise ValueError("person crops and weights by class need annotated files; drawn people are whole images")
    return source


def _files(records: Records, loading: Loading, *, least: int | None = None) -> Files:
    """Images from files; a cache may keep them smaller, `least` pixels long, if somebody says that this is enough."""
    caches = {"none": _no_cache, "memory": _memory_cache, "disk": _disk_cache}
    whole = int(records.sizes.max(initial=1))
    return Files(records, caches[loading.cache](records, whole if least is None else least, loading))


def _no_cache(records: Records, least: int, loading: Loading) -> ImageCache | None:
    return None


def _memory_cache(records: Records, least: int, loading: Loading) -> ImageCache:
    return MemoryCache(records.sizes, least)


def _disk_cache(records: Records, least: int, loading: Loading) -> ImageCache:
    return DiskCache(Path(loading.cache_folder), records, records.sizes, least)
