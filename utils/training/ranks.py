"""What the processes of one run agree upon: whether to stop, and what only the first of them has found."""

from typing import Any

import torch
from torch import distributed

from utils.core.distributed import gather


class Ranks:
    """Alone there is nothing to agree upon; together every answer is the same for all."""

    def __init__(self, *, alone: bool = False) -> None:
        self.together = distributed.is_initialized() and not alone
        # Questions go over the CPU, so that no GPU has to be waited for.
        needs_own = self.together and distributed.get_backend() != "gloo"
        self._group = distributed.new_group(backend="gloo") if needs_own else None

    @property
    def count(self) -> int:
        return distributed.get_world_size() if self.together else 1

    @property
    def index(self) -> int:
        return distributed.get_rank() if self.together else 0

    def any(self, flag: bool) -> bool:
        """Whether it is so for one of them."""
        if not self.together:
            return flag
        answer = torch.tensor([int(flag)])
        distributed.all_reduce(answer, distributed.ReduceOp.MAX, group=self._group)
        return bool(answer.item())

    def of_first(self, value: Any) -> Any:
        """What rank 0 has."""
        if not self.together:
            return value
        values = [value]
        distributed.broadcast_object_list(values, 0, group=self._group)
        return values[0]

    def all(self, value: Any) -> list[Any]:
        """What each has, in order."""
        return gather(value)

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all of them."""
        if self.together:
            distributed.all_reduce(values)
        return values
