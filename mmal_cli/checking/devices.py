"""Does a method choose the same samples on a GPU as on a CPU?"""

from collections.abc import Iterator

import torch

from mmal_cli.checking._asking import Row, Skipped, Subject, Wrong, ask_with, examined, must_repeat
from mmal_cli.checking._views import copied, lend, make_view
from mmal_cli.device import device_name
from mmal_cli.method import Method
from mmal_cli.pool import moved

PLACE = 7
PICKS = 30


def rows(subject: Subject) -> Iterator[Row]:
    """Skipped without a GPU: float32 beside float64 on a CPU would say nothing of one."""
    yield examined("CPU and GPU agree", lambda: _agree(subject.method))


def _agree(method: Method) -> str:
    if not torch.cuda.is_available():
        raise Skipped(f"torch {torch.__version__} sees no GPU")
    return compared(method, torch.device("cuda"))


def compared(method: Method, device: torch.device) -> str:
    """Asks for the same picks on the CPU and on a device."""
    view = make_view(samples=200, classes=3, width=12, labelled=20)
    must_repeat(method, view, PICKS)
    here = lend(view, method.needs)
    there = moved(here, lambda tensor: tensor.to(device, copy=True))
    expected, found = (ask_with(method, one, PICKS).samples for one in (copied(here), there))
    if found != expected:
        first = next(k for k, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
        raise Wrong(f"pick {first} of {PICKS} is {found[first]} on the GPU, expected {expected[first]} as on the CPU")
    return f"{PICKS} of 200 on {device_name(device)}"
