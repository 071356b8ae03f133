"""python -m benchmarks.training --model yolov5n6_kpts.yaml --img 320 --batch 4: where the time of a step goes.

Synthetic batches, or with --data those of a data set, as train.py loads them: decoded, augmented, in this process
unless --workers says otherwise. The loader alone is measured by benchmarks/loading.py.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, count
from typing import Any

import torch

from benchmarks.timing import machine
from benchmarks.yolo_pose import crowd
from models import families
from models.build import read_model_yaml
from utils.core.distributed import choose_device
from utils.core.poses import Batch, untouched
from utils.data.annotations import DataSpec
from utils.data.loader import Loading, training_loader
from utils.data.recipe import Augment
from utils.training.learner import Learner
from utils.training.ranks import Ranks
from utils.training.schedule import Moment
from utils.training.settings import TrainSettings, read_recipe

PARTS = ("data", "data to device", "forward", "loss", "backward", "optimizer", "average")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Images per second of training, and the share of each part of a step.")
    parser.add_argument("--model", default="yolov5n6_kpts.yaml", help="model YAML")
    parser.add_argument("--img", type=int, default=320, help="side of the images")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--people", type=int, default=4, help="in each synthetic image")
    parser.add_argument("--data", help="data YAML or folder: real batches, by the family's own recipe")
    parser.add_argument("--workers", type=int, default=0, help="processes that load them")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "fp16", "bf16"))
    parser.add_argument("--optimizer", default="SGD", choices=("SGD", "Adam", "AdamW"))
    parser.add_argument("--contiguous", action="store_true", help="without channels last")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    return parser.parse_args()


def build(args: argparse.Namespace) -> Learner:
    spec = replace(read_model_yaml(args.model), input_size=(args.img, args.img))
    settings = TrainSettings(
        batch_size=args.batch, nominal_batch=args.batch, optimizer=args.optimizer, precision=args.precision,
        channels_last=not args.contiguous, compile=args.compile, warmup_epochs=0, lr0=1e-4,
    )  # fmt: skip
    torch.manual_seed(0)
    model = families.find(spec.family)(spec)
    return Learner(model, settings, device=choose_device(args.device), steps_per_epoch=1000, ranks=Ranks())


def batches(learner: Learner, args: argparse.Namespace) -> Iterator[Batch]:
    return loaded(learner, args) if args.data else synthetic(learner, args)


def loaded(learner: Learner, args: argparse.Namespace) -> Iterator[Batch]:
    """Batches as train.py has them, epoch after epoch."""
    hyp = learner.model.usual_recipe
    _, _, augment = read_recipe(hyp, TrainSettings, type(learner.model).gains_type, Augment)
    records, spec = DataSpec.read(args.data).records("train"), learner.model.spec
    loading = Loading(args.batch, args.workers)
    loader = training_loader(records, spec, Augment.from_values(augment, hyp), loading, coding=learner.model.coding)
    return chain.from_iterable(loader.epoch(number) for number in count())


def synthetic(learner: Learner, args: argparse.Namespace) -> Iterator[Batch]:
    """The same few images again and again, from the memory of the host."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (args.batch, 3, args.img, args.img), generator=generator, dtype=torch.uint8)
    targets = crowd(learner.model, args.batch, args.people, args.img, generator)
    origins = tuple(untouched(str(i), f"{i}.jpg", (args.img, args.img)) for i in range(args.batch))
    batch = Batch(images, targets, origins)
    batch = batch.pin_memory() if learner.device.type == "cuda" else batch
    while True:
        yield batch


def timed_step(learner: Learner, source: Iterator[Batch], step: int) -> dict[str, float]:
    """One step in milliseconds, part by part; on a GPU each part is waited for."""
    taken: dict[str, float] = {}

    def watch(name: str, part: Callable[..., Any], *inputs: Any) -> Any:
        start = time.perf_counter()
        result = part(*inputs)
        if learner.device.type == "cuda":
            torch.cuda.synchronize()
        taken[name] = 1000 * (time.perf_counter() - start)
        return result

    moment = Moment((1e-4, 1e-4, 1e-4), 0.937, 1, True)
    batch = watch("data", next, source)
    images, targets = watch("data to device", learner.inputs, batch, step)
    raw = watch("forward", learner.forward, images)
    terms = watch("loss", learner.losses, raw, targets, step)
    watch("backward", learner.backward, terms, moment)
    watch("optimizer", learner.update, moment)
    watch("average", learner.ema.update)  # once more: `update` has one in it, which is taken off
    taken["optimizer"] = max(taken["optimizer"] - taken["average"], 0.0)
    return taken


def whole_steps(learner: Learner, source: Iterator[Batch], steps: int) -> float:
    """Seconds of a step as it is in training, without waiting between its parts."""
    start = time.perf_counter()
    for step in range(steps):
        learner.learn(next(source), step)
    if learner.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def peak_memory(learner: Learner) -> str:
    """The most that was held so far: on a GPU by torch, else by the process."""
    if learner.device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(learner.device) / 2**30:.2f} GiB of the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of the process"


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    learner = build(args)
    source = batches(learner, args)
    learner.start_epoch()
    whole_steps(learner, source, 2)
    found = [timed_step(learner, source, step) for step in range(args.steps)]
    medians = {name: statistics.median(taken[name] for taken in found) for name in PARTS}
    total = sum(medians.values())
    print(machine() if learner.device.type == "cpu" else torch.cuda.get_device_name(learner.device))
    shown = args.data or f"{args.people} people each"
    print(f"{args.model}, {args.batch} x {args.img}, {shown}, {learner.dtype}, {args.optimizer}")
    for name, value in medians.items():
        print(f"  {name:<16} {value:9.2f} ms  {value / total:6.1%}")
    share = (medians["optimizer"] + medians["average"]) / total
    print(f"  optimizer and average together: {share:.1%}")
    print(f"  {args.batch / whole_steps(learner, source, args.steps):.1f} images/s in whole steps")
    print(f"  peak memory: {peak_memory(learner)}")


if __name__ == "__main__":
    main()
