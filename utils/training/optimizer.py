"""Which parameters learn how: three groups as published, SGD, Adam or AdamW, and what is frozen."""

from collections.abc import Sequence

import torch
from torch import nn

from utils.core.config import did_you_mean
from utils.training.schedule import Moment
from utils.training.settings import TrainSettings

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm)
Groups = tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]


def parameter_groups(model: nn.Module) -> Groups:
    """Parameters that learn, in the order of the modules: weights of normalisations, other weights, all biases.

    Only the second group decays. A parameter that belongs to no layer of torch decays if it is a matrix.
    """
    norms: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            if name == "bias":
                biases.append(parameter)
            elif isinstance(module, NORMS) or parameter.ndim < 2:
                norms.append(parameter)
            else:
                weights.append(parameter)
    return norms, weights, biases


def build_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of a recipe; its rates are set anew before every step."""
    groups = parameter_groups(model)
    if not any(groups):
        raise ValueError(f"freeze: {settings.freeze} freezes every parameter; nothing is left to learn")
    decays = (0.0, settings.effective_decay, 0.0)
    listed = [
        {"params": parameters, "weight_decay": decay, "group": index}
        for index, (parameters, decay) in enumerate(zip(groups, decays, strict=True))
        if parameters
    ]
    device = listed[0]["params"][0].device.type
    # Fused kernels are the fastest, and skip a step on the device when its gradients are not finite.
    fused = True if device in ("cpu", "cuda") else None
    if settings.optimizer == "SGD":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(listed, lr=settings.lr0, momentum=settings.momentum, nesterov=nesterov, fused=fused)
    kind = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[settings.optimizer]
    return kind(listed, lr=settings.lr0, betas=(settings.momentum, 0.999), fused=fused)


def apply(moment: Moment, optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer the rates of a step; Adam's betas stay, as in the originals."""
    for group in optimizer.param_groups:
        group["lr"] = moment.rates[group["group"]]
        if "momentum" in group:
            group["momentum"] = moment.momentum


# ---------------------------------------------------------------------------------------------- freezing


def freeze(model: nn.Module, wanted: int | Sequence[str]) -> list[nn.Module]:
    """Stop parameters from learning; returns the normalisations among them, whose statistics must rest too."""
    names = [name for name, _ in model.named_parameters()]
    prefixes = first_layers(model, wanted) if isinstance(wanted, int) else _named(model, wanted)
    for prefix in prefixes:
        if not any(_begins(name, prefix) for name in names):
            known = {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2, 3)}
            raise ValueError(f"freeze: no parameter begins with '{prefix}'{did_you_mean(prefix, sorted(known))}")
    for name, parameter in model.named_parameters():
        if any(_begins(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, NORMS) and any(_begins(name, prefix) for prefix in prefixes)
    ]


def normalisations(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, NORMS)]


def _named(model: nn.Module, wanted: Sequence[str]) -> tuple[str, ...]:
    """Names as they are, numbers as the names of those layers."""
    numbers = [int(word) for word in wanted if word.isdecimal()]
    layers = first_layers(model, max(numbers) + 1) if numbers else ()
    return tuple(layers[int(word)] if word.isdecimal() else word for word in wanted)


def first_layers(model: nn.Module, count: int) -> tuple[str, ...]:
    """The names of a network's first layers, those of its longest list of modules."""
    if count <= 0:
        return ()
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    name, layers = max(lists, key=lambda entry: len(entry[1]), default=("", ()))
    if count > len(layers):
        raise ValueError(f"freeze: {count} found; this network has {len(layers)} layers in a row, or give names")
    return tuple(f"{name}.{index}" for index in range(count))


def _begins(name: str, prefix: str) -> bool:
    """Whole words only: 'body.layers.1' is not the beginning of 'body.layers.10.conv'."""
    return f"{name}.".startswith(f"{prefix.rstrip('.')}.")
