"""The paper's printed values (mmal_cli/published/aulc.yaml), and whether a run was made with the paper's settings."""

from typing import NamedTuple

from mmal_cli.cell import LATER
from mmal_cli.core import files, layers, plugins
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.place import Place
from mmal_cli.core.protocol import Protocol, Regime
from mmal_cli.core.settings import PROTOCOLS
from mmal_cli.core.tables import AulcTable, Published

FREE = "train.moddrop.enabled"  # a place in the grid, not a setting
KEPT = (
    "model.encoders.",
    "model.encoder_options",
    "model.start",
    "shrink",
    "train.fixmatch",
    *(f"train.{key}" for key in LATER),
)  # a record keeps those that its dataset has a use for
TRAIN = {"missing": 60_000, "unique": 60_000, "synergy": 60_000, "share": 50_000}  # samples; of the first three mmal's choice


class Beside(NamedTuple):
    """A run beside the paper's: dotted settings, `dataset`, `train samples` or `labels` (of the cycles).

    other: what is known to be another; unknown: settings that the record lacks; size: whether it tells the dataset's size.
    """

    other: list[str]
    unknown: list[str]
    size: bool

    @property
    def same(self) -> bool:
        """Whether values may be compared. Size is asked only where it is known."""
        return not (self.other or self.unknown)


def read() -> Published:
    """Tables 7 to 16 and the rank sums of Table 3."""
    path = plugins.find("published", "aulc", "published table", ".yaml")
    return check(Published, files.read_yaml(path), f"published/{path.name}")


def beside(run: Run, printed: AulcTable) -> Beside:
    """What tells a run from the paper's; what the paper leaves open counts as the protocol has it."""
    place = check(Place, run.config, "config")
    if place.dataset not in printed.datasets or place.dataset not in plugins.names(PROTOCOLS, ".yaml"):
        return Beside(["dataset"], [], False)
    raw = files.read_yaml(plugins.find(PROTOCOLS, place.dataset, "protocol", ".yaml"))
    if place.regime not in raw["regimes"]:
        return Beside(["regime"], [], False)
    stack = [("default", Protocol().model_dump(mode="json")), (place.dataset, raw)]
    expected, _ = layers.merged(stack, place.regime, place.qm)
    budget = check(Regime, expected["budget"], f"{PROTOCOLS}/{place.dataset}.yaml")
    known, settings = files.flatten(expected), files.flatten(run.config.get("settings", {}))
    wrong = [key for key, value in settings.items() if key != FREE and value != {} and known.get(key) != value]
    free = (FREE, *KEPT)
    lacking = [key for key, value in known.items() if key not in settings and value != {} and not key.startswith(free)]
    labels = [budget.start + budget.query * number for number in range(budget.cycles)]
    if [cycle.labels for cycle in run.cycles] != labels:
        wrong.append("labels")
    found, samples = TRAIN.get(place.dataset), _train_samples(run)
    if found and samples and samples != found:
        wrong.append("train samples")
    return Beside(sorted(wrong), sorted(lacking), bool(found and samples))


def _train_samples(run: Run) -> int | None:
    """Pool, labelled set and validation of a cycle that asked; None where the record does not say."""
    validation = run.config.get("settings", {}).get("budget", {}).get("validation")
    asked = (cycle.labels + sum(cycle.asked.pool_present.values()) for cycle in run.cycles if cycle.asked)
    return None if validation is None or (rest := next(asked, None)) is None else rest + validation
