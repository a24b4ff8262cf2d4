"""A second device that is none: its tensors lie in the CPU's memory, but torch and our code take them for a GPU's.

What a GPU refuses, tensors of two devices in one operation, is an error here too, and what a GPU makes the host wait for is
noted. The kernels are the CPU's, so that results are the CPU's, unless a generator is given: then sums, products of matrices
and functions such as exp are off by a last bit, up or down, as a GPU's are that adds in another order; whole numbers are not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

PLACE = torch.device("lazy", 0)  # torch has no kernels for it in this process, and no threads of its own for its gradients
aten = torch.ops.aten
# by a mask they ask for its shape, by positions on the CPU they fetch them
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
COPIES = {aten._to_copy.default, aten.copy_.default}
# what needs a shape or a sum that the device alone knows, beside all that gives the host a number
ASKS = {
    aten._unique2.default,
    aten.bincount.default,
    aten.masked_select.default,
    aten.multinomial.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}
ROUNDED = {"_log_softmax", "_softmax", "addmm", "bmm", "cumsum", "exp", "log", "logsumexp", "mean", "mm", "mv", "pow", "prod"}
ROUNDED |= {"reciprocal", "special_entr", "sqrt", "sum"}


class There(torch.Tensor):
    """A tensor of the device; `held` is what it has on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "There":
        form = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        found = torch.Tensor._make_wrapper_subclass(cls, held.shape, **form, device=PLACE)
        found.held = held
        return found

    def tolist(self) -> list:
        Device.now.waits.append("tolist")
        return self.held.tolist()

    def __repr__(self) -> str:
        return f"There({self.held})"

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return Device.now.run(op, args, kwargs or {})


class Device(TorchDispatchMode):
    """The device while it is there; `waits` are the operations for which a GPU would have made the host wait."""

    now: "Device"

    def __init__(self, rounding: torch.Generator | None = None) -> None:
        super().__init__()
        self.rounding = rounding
        self.waits: list[str] = []
        self.pinned: dict[int, torch.Tensor] = {}  # by address; kept, so that no other tensor gets it

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        return self.run(op, args, kwargs or {})

    def run(self, op, args: tuple, kwargs: dict) -> object:
        """Does on the CPU what is asked of either device."""
        if op is aten.is_pinned.default:
            return args[0].data_ptr() in self.pinned
        if op is aten._pin_memory.default:
            copy = torch.empty_strided(args[0].shape, args[0].stride(), dtype=args[0].dtype).copy_(args[0])
            return self.pinned.setdefault(copy.data_ptr(), copy)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = {id(x.held): x for x in tensors if isinstance(x, There)}
        asked = kwargs.get("device")
        stays = bool(there) if asked is None else torch.device(asked).type == PLACE.type
        self.look(op, args, kwargs, tensors, stays)
        if asked is not None:
            kwargs = kwargs | {"device": torch.device("cpu")}
        made = op(*tree_map(held, args), **tree_map(held, kwargs))
        if there and isinstance(made, bool | int | float):
            self.waits.append(str(op))
        if self.rounding and stays and op.overloadpacket.__name__ in ROUNDED and made.is_floating_point():
            off = torch.randint(-1, 2, made.shape, generator=self.rounding) * (made != made.round())
            made.mul_(1 + torch.finfo(made.dtype).eps * off.to(made.dtype))

        def given(x: object) -> object:
            if id(x) in there:
                return there[id(x)]  # an operation in place gives what it got
            return There(x) if stays and isinstance(x, torch.Tensor) else x

        return tree_map(given, made)

    def look(self, op, args: tuple, kwargs: dict, tensors: list[torch.Tensor], stays: bool) -> None:
        """Refuses what a GPU refuses, and notes what it waits for."""
        here, there = ([x for x in tensors if isinstance(x, There) == its] for its in (False, True))
        if op in COPIES:
            free = kwargs.get("non_blocking") or (op is aten.copy_.default and len(args) > 2 and args[2])
            crosses = bool(there) != stays or (here and there)
            if crosses and not (free and here and here[0].data_ptr() in self.pinned):
                self.waits.append(str(op))
        elif op in INDEXED and isinstance(args[0], There):
            if len(args) > 2 and args[2].ndim and not isinstance(args[2], There):
                raise RuntimeError(f"{op}: expected values on the device, found {tuple(args[2].shape)} here")
            if any(x is not None and (x.dtype == torch.bool or not isinstance(x, There)) for x in args[1]):
                self.waits.append(str(op))
        elif there and any(x.ndim for x in here):
            found = ", ".join(f"{tuple(x.shape)} {'there' if isinstance(x, There) else 'here'}" for x in tensors)
            raise RuntimeError(f"{op}: expected all tensors on one device, found {found}")
        elif there and op in ASKS:
            self.waits.append(str(op))


def held(x: object) -> object:
    """What a tensor of the device has on the CPU; all else as it is."""
    return x.held if isinstance(x, There) else x


@contextmanager
def device(rounding: torch.Generator | None = None) -> Iterator[Device]:
    """The device, and what is noted of it."""
    with Device(rounding) as Device.now:
        yield Device.now
