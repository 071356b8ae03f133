"""What an exported file costs: ONNX Runtime against torch, and the share of decoding and selection in it."""

import argparse
from collections.abc import Callable

import onnx
import torch
from onnxruntime import InferenceSession, SessionOptions

from benchmarks.timing import machine, medians
from models.build import load
from models.layers import fused
from utils.core.contract import PoseModel
from utils.core.images import fit, stack, to_unit
from utils.core.poses import Poses
from utils.core.tta import View
from utils.data.people import SceneSettings, draw
from utils.export import graphs
from utils.export.layout import DETECTIONS, IMAGES, Export, leaves
from utils.export.onnx import finished, to_onnx


def whole(model: PoseModel, network: Callable[[torch.Tensor], object], images: torch.Tensor) -> list[Poses]:
    with torch.inference_mode():
        return model.select(model.decode([network(images)], [View()]))


def raw_maps(model: PoseModel, images: torch.Tensor) -> list[torch.Tensor]:
    with torch.inference_mode():
        return leaves(model.maps(model(images)))


def session(file: bytes) -> InferenceSession:
    """With as many threads as torch has."""
    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return InferenceSession(file, options, providers=["CPUExecutionProvider"])


def latency(model: PoseModel, size: int, *, repeats: int, compiled: bool) -> None:
    """From the input tensor to the people, batch 1: the file, its part after the network, and torch."""
    export = Export((size, size), simplify=True)
    exported = to_onnx(model, export)
    written = finished(exported, model, export, {})
    file = session(written)
    after = session(
        graphs.between(onnx.load_model_from_string(written), exported.raw, [DETECTIONS]).SerializeToString()
    )
    scene, _ = fit(draw(0, 0, SceneSettings()).image, (size, size), model.letterbox)
    images = to_unit(stack([scene]))
    found_by_network = dict(
        zip(exported.raw, (level.contiguous().numpy() for level in raw_maps(model, images)), strict=True)
    )
    last = images.contiguous(memory_format=torch.channels_last)
    cases: dict[str, Callable[[], object]] = {
        "ONNX Runtime, selection inside": lambda: file.run(None, {IMAGES: images.numpy()}),
        "decoding and selection of it alone": lambda: after.run(None, found_by_network),
        "torch, eager": lambda: whole(model, model, last),
    }
    if compiled:
        network = torch.compile(model)
        cases["torch.compile"] = lambda: whole(model, network, last)
    print(f"  people found: {len(whole(model, model, last)[0])}")
    found = medians(cases, repeats=repeats)
    for name, value in found.items():
        print(f"  {name:<36} {value:9.1f} ms   {value / found['ONNX Runtime, selection inside']:.2f} times the file")
    share = found["decoding and selection of it alone"] / found["ONNX Runtime, selection inside"]
    print(f"  decoding and selection: {share:.1%} of the graph's time (goal: under 5%)")


def main() -> None:
    parser = argparse.ArgumentParser(description="What an exported file costs on this machine, as ratios in one run.")
    parser.add_argument("--weights", default="yolov5s6_kpts.yaml")
    parser.add_argument("--img", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which takes minutes to begin")
    args = parser.parse_args()
    model = fused(load(args.weights)).to(memory_format=torch.channels_last)
    print(f"{machine()}\n{args.weights} at {args.img}, batch 1")
    latency(model, args.img, repeats=args.repeats, compiled=args.compile)


if __name__ == "__main__":
    main()
