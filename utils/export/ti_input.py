"""A TI graph starts at its first convolution: what a network does to its images before that is folded into it."""

from typing import TYPE_CHECKING

import numpy as np

from utils.export import graphs
from utils.export.layout import IMAGES
from utils.export.trunk import parts

if TYPE_CHECKING:  # imported where it is used
    import onnx


def with_plain_input(graph: "onnx.ModelProto", raw: tuple[str, ...]) -> "onnx.ModelProto":
    """The same graph with the images straight into the stem, where all that stood between them mixes the colours.

    Turning colours round is a strided slice, which the importer does not read, and a factor of 255 before the first
    convolution is one more tensor to quantise. Both are a 3x3 matrix over the colours, so the stem's weights can hold
    them. What is no such matrix, a Focus for one, is left as it stands.
    """
    from onnx import numpy_helper

    found = parts(graph.graph, raw)
    entering, weight_name = found.stem.input[:2]
    if entering == IMAGES:
        return graph
    matrix = _matrix_over_colours(graph, entering)
    if matrix is None:
        return graph
    plain = graphs.with_outputs(graph, [value.name for value in graph.graph.output])  # a copy
    [stem] = [node for node in plain.graph.node if node.name == found.stem.name]
    [weight] = [value for value in plain.graph.initializer if value.name == weight_name]
    folded = np.einsum("oihw,ij->ojhw", found.constants[weight_name].astype(np.float64), matrix)
    weight.CopyFrom(numpy_helper.from_array(folded.astype(np.float32), weight_name))
    stem.input[0] = IMAGES
    return graphs.cut(plain, [value.name for value in plain.graph.output])


def _matrix_over_colours(graph: "onnx.ModelProto", tensor: str) -> np.ndarray | None:
    """The matrix that makes this tensor of each pixel's colours, found by trying; None if there is none."""
    import onnx
    import onnxruntime
    from onnx import helper

    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    watched.graph.output.append(helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(
        graphs.cut(watched, [tensor]).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    shape = tuple(session.get_inputs()[0].shape)  # (1, 3, H, W)

    def through(images: np.ndarray) -> np.ndarray:
        return session.run(None, {IMAGES: images.astype(np.float32)})[0]

    black = np.zeros(shape)
    if through(black).shape != shape or through(black).any():
        return None
    columns = [through(black + np.eye(3)[colour][:, None, None])[0, :, 0, 0] for colour in range(3)]
    matrix = np.stack(columns, 1).astype(np.float64)  # (3, 3)
    noise = np.random.default_rng(0).uniform(size=shape)
    same = np.allclose(through(noise), np.einsum("ij,bjhw->bihw", matrix, noise), rtol=1e-5, atol=1e-5)
    return matrix if same else None
