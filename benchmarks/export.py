"""What an exported file costs: ONNX Runtime against torch, the share of the selection beside the network alone."""

import argparse
from collections.abc import Callable

import torch

from benchmarks.timing import machine, medians
from models.build import load
from models.layers import fused
from utils.core.contract import PoseModel
from utils.core.images import fit, stack, to_unit
from utils.core.tta import View
from utils.data.people import SceneSettings, draw
from utils.export import graphs
from utils.export.layout import Export
from utils.export.onnx import finished, to_onnx
from utils.export.session import onnx_session


def whole(model: PoseModel, network: Callable[[torch.Tensor], object], images: torch.Tensor) -> object:
    with torch.inference_mode():
        return model.select(model.decode([network(images)], [View()]))


def latency(model: PoseModel, size: int, repeats: int) -> None:
    """From the input tensor to the people, batch 1: the file, its part before the selection, and torch."""
    export = Export((size, size), simplify=True)
    exported = to_onnx(model, export)
    file = onnx_session(finished(exported, model, export, {}))
    before = onnx_session(graphs.cut(exported.graph, exported.raw).SerializeToString())
    scene, _ = fit(draw(0, 0, SceneSettings()).image, (size, size), model.letterbox)
    images = to_unit(stack([scene]))
    compiled = torch.compile(model)
    last = images.contiguous(memory_format=torch.channels_last)
    cases: dict[str, Callable[[], object]] = {
        "ONNX Runtime, selection inside": lambda: file(images),
        "ONNX Runtime, the network alone": lambda: before(images),
        "torch, eager": lambda: whole(model, model, last),
        "torch.compile": lambda: whole(model, compiled, last),
    }
    found = medians(cases, repeats=repeats)
    for name, value in found.items():
        print(f"  {name:<36} {value:9.1f} ms   {value / found['ONNX Runtime, selection inside']:.2f} times the file")
    share = 1 - found["ONNX Runtime, the network alone"] / found["ONNX Runtime, selection inside"]
    print(f"  decoding and selection: {share:.1%} of the graph's time (goal: under 5%)")


def main() -> None:
    parser = argparse.ArgumentParser(description="What an exported file costs on this machine, as ratios in one run.")
    parser.add_argument("--weights", default="yolov5s6_kpts.yaml")
    parser.add_argument("--img", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    model = fused(load(args.weights)).to(memory_format=torch.channels_last)
    print(f"{machine()}\n{args.weights} at {args.img}, batch 1")
    latency(model, args.img, args.repeats)


if __name__ == "__main__":
    main()
