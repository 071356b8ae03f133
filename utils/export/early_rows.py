"""Rows are chosen first and computed then: a Gather moves up through operators that look at each row alone.

A family decodes every candidate and selects some, which is the simple way to write it. In a graph the few can be picked
from the raw numbers, and only they are decoded, by the same operators with the same results.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from utils.export import graphs

if TYPE_CHECKING:  # imported where it is used
    import onnx

EACH_NUMBER = ("Sigmoid", "Exp", "Neg", "Cast", "Sqrt", "Tanh", "Log")
TWO_BY_TWO = ("Add", "Sub", "Mul", "Div", "Max", "Min")


def rows_first(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The same graph, in which what a Gather throws away is not computed before; only where shapes are known."""
    import onnx

    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        return model  # inner graphs take tensors of the outer one without naming them as inputs
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    work = _Work.of(copy)
    while any(work.moved_up(node) for node in list(work.nodes.values())):
        pass
    work.write_back(copy)
    return graphs.cut(copy, [value.name for value in copy.graph.output])  # without the constants that nobody needs


@dataclass
class _Work:
    """A graph taken apart: nodes by their only output."""

    nodes: dict[str, "onnx.NodeProto"]
    others: list["onnx.NodeProto"]  # with more outputs than one; they stay where they are
    constants: dict[str, "onnx.TensorProto"]
    shapes: dict[str, tuple[int | str, ...]]
    outputs: set[str]
    made: int = 0
    new_constants: list["onnx.TensorProto"] = field(default_factory=list)

    @classmethod
    def of(cls, model: "onnx.ModelProto") -> "_Work":
        graph = model.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        shapes = dict(graphs.shapes(model)) | {name: tuple(tensor.dims) for name, tensor in constants.items()}
        single = {node.output[0]: node for node in graph.node if len(node.output) == 1}
        others = [node for node in graph.node if len(node.output) != 1]
        return cls(single, others, constants, shapes, {value.name for value in graph.output})

    def moved_up(self, gather: "onnx.NodeProto") -> bool:
        """Whether this node was a Gather of rows that now stands before the operator that it stood behind."""
        if gather.output[0] not in self.nodes or not self._picks_rows(gather):
            return False
        above = self.nodes.get(gather.input[0])
        if above is None or self._uses(gather.input[0]) != 1:
            return False
        inputs = self._gathered_inputs(above, gather)
        if inputs is None:
            return False
        import onnx

        twin = onnx.NodeProto()
        twin.CopyFrom(above)
        twin.input[:], twin.output[:] = inputs, gather.output
        del self.nodes[above.output[0]]
        self.nodes[gather.output[0]] = twin
        return True

    def _picks_rows(self, node: "onnx.NodeProto") -> bool:
        """A Gather by a list of indices, not by a single one."""
        return node.op_type == "Gather" and len(self.shapes.get(node.input[1], ())) == 1

    def _uses(self, name: str) -> int:
        counts = Counter(name for node in (*self.nodes.values(), *self.others) for name in node.input)
        return counts[name] + (name in self.outputs)

    def _gathered_inputs(self, above: "onnx.NodeProto", gather: "onnx.NodeProto") -> list[str] | None:
        """What the operator takes when its rows were picked before; None where it does not look at each row alone."""
        inputs, shape = list(above.input), self.shapes.get(above.output[0])
        known = [self.shapes.get(name) for name in inputs]
        if shape is None or any(of_input is None or "" in of_input for of_input in known):
            return None
        axis, kind = _axis(gather) % len(shape), above.op_type
        pick = lambda name, at: self._gather(name, gather.input[1], at)  # noqa: E731
        if kind in EACH_NUMBER:
            return [pick(inputs[0], axis)]
        if kind in TWO_BY_TWO:
            places = [axis - len(shape) + len(of_input) for of_input in known]  # broadcasting counts from the end
            whole = [at >= 0 and of_input[at] == shape[axis] for at, of_input in zip(places, known, strict=True)]
            every = zip(inputs, places, whole, strict=True)
            return [pick(name, at) if full else name for name, at, full in every]
        if kind == "Concat" and _axis(above) % len(shape) != axis:
            return [pick(name, axis) for name in inputs]
        if kind == "Slice" and len(inputs) > 3 and axis not in self._axes(inputs[3], len(shape)):
            return [pick(inputs[0], axis), *inputs[1:]]
        if kind == "Gather" and known[1] == ():
            taken = _axis(above) % len(known[0])
            return [pick(inputs[0], axis + (taken <= axis)), inputs[1]]
        if kind == "Reshape" and known[0][: axis + 1] == shape[: axis + 1] and all(isinstance(n, int) for n in shape):
            return [pick(inputs[0], axis), self._constant([-1 if at == axis else n for at, n in enumerate(shape)])]
        return None

    def _axes(self, name: str, rank: int) -> set[int]:
        """The axes of a Slice; all of them where they are not written in the graph."""
        from onnx import numpy_helper

        if name not in self.constants:
            return set(range(rank))
        return {int(axis) % rank for axis in numpy_helper.to_array(self.constants[name]).ravel()}

    def _gather(self, data: str, indices: str, axis: int) -> str:
        """The name of these rows; a Gather that is there already is not made again."""
        from onnx import helper

        for name, node in self.nodes.items():
            if node.op_type == "Gather" and [*node.input] == [data, indices] and _axis(node) == axis:
                return name
        name = self._name()
        self.nodes[name] = helper.make_node("Gather", [data, indices], [name], name=f"{name}_node", axis=axis)
        rows = self.shapes[indices][0]
        self.shapes[name] = tuple(rows if at == axis else side for at, side in enumerate(self.shapes[data]))
        return name

    def _constant(self, values: list[int]) -> str:
        import onnx

        name = self._name()
        tensor = onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(values)], values)
        self.new_constants.append(tensor)
        self.constants[name], self.shapes[name] = tensor, (len(values),)
        return name

    def _name(self) -> str:
        self.made += 1
        return f"rows_first_{self.made}"

    def write_back(self, model: "onnx.ModelProto") -> None:
        graph = model.graph
        there = {value.name for value in graph.input} | set(self.constants)
        ordered = list(_in_order([*self.nodes.values(), *self.others], there))
        stale = {value.name for value in graph.value_info} - {name for node in ordered for name in node.output}
        del graph.node[:]
        graph.node.extend(ordered)
        graph.initializer.extend(self.new_constants)
        kept = [value for value in graph.value_info if value.name not in stale]
        del graph.value_info[:]
        graph.value_info.extend(kept)


def _axis(node: "onnx.NodeProto") -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _in_order(nodes: list["onnx.NodeProto"], there: set[str]) -> Iterator["onnx.NodeProto"]:
    """Every node behind those whose results it takes."""
    there = {*there, ""}
    while nodes:
        ready = [node for node in nodes if there.issuperset(node.input)]
        assert ready, "a circle in the graph"
        there |= {name for node in ready for name in node.output}
        nodes = [node for node in nodes if not there.issuperset(node.output)]
        yield from ready
