"""The paper's printed values (mmal_cli/published/aulc.yaml), and whether a run was made with the paper's settings."""

from collections.abc import Mapping
from typing import Any

from mmal_cli.core import files, plugins
from mmal_cli.core.manifest import Run, check
from mmal_cli.core.settings import PROTOCOLS, Protocol, Train
from mmal_cli.core.tables import AulcTable, Place, Published

FREE = {"train.moddrop.enabled"}  # a place in the grid, not a setting


def read() -> Published:
    """Tables 7 to 16 and the rank sums of Table 3."""
    path = plugins.find("published", "aulc", "published table", ".yaml")
    return check(Published, files.read_yaml(path), f"published/{path.name}")


def differs(run: Run, printed: AulcTable) -> list[str]:
    """What tells a run from the paper's: dotted settings, `dataset`, `labels` (of the cycles); nothing if it may be compared.

    What the paper leaves open counts as the protocol has it. The size of the dataset is not in a record.
    """
    place = check(Place, run.config, "config")
    if place.dataset not in printed.datasets or place.dataset not in plugins.names(PROTOCOLS, ".yaml"):
        return ["dataset"]
    raw = files.read_yaml(plugins.find(PROTOCOLS, place.dataset, "protocol", ".yaml"))
    whole = check(Protocol, _merged(Protocol().model_dump(mode="json"), raw), f"{PROTOCOLS}/{place.dataset}.yaml")
    if (regime := whole.regimes.get(place.regime)) is None:
        return ["regime"]
    expected = whole.model_dump(mode="json", exclude={"regimes", "query_options"})
    expected["train"] = check(Train, _merged(expected["train"], regime.train), "train").model_dump(mode="json")
    expected["budget"] = regime.model_dump(mode="json", exclude={"train"})
    expected["query_options"] = whole.query_options.get(place.qm, {})
    known = files.flatten(expected)
    settings = files.flatten(run.config.get("settings", {}))
    wrong = [key for key, value in settings.items() if key not in FREE and value != {} and known.get(key) != value]
    labels = [regime.start + regime.query * number for number in range(regime.cycles)]
    return sorted(wrong) + (["labels"] if [cycle.labels for cycle in run.cycles] != labels else [])


def _merged(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """b over a, deep."""
    both = {
        key: _merged(a[key], b[key]) for key in a.keys() & b.keys() if isinstance(a[key], dict) and isinstance(b[key], dict)
    }
    return {**a, **b, **both}
