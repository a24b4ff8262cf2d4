"""`mmal prepare-mimic`: makes the MIMIC dataset from files under a data use agreement, and says nothing of anybody in them."""

import csv
import io
import shlex
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from mmal_cli import show
from mmal_cli.core.errors import BAD_DATA, UserError

STAGE = 1.2
CHECKED = 16  # ECGs that are read by wfdb too

MimicIv = Annotated[Path, typer.Argument(help="Folder of MIMIC-IV that holds hosp/; nothing in it is changed.")]
MimicIvEcg = Annotated[Path, typer.Argument(help="Folder of MIMIC-IV-ECG that holds record_list.csv and files/.")]
Out = Annotated[Path, typer.Option(help="Folder to make.")]
Seed = Annotated[int, typer.Option(help="Of the test split and the order of the samples.", min=0)]
TestSubjects = Annotated[
    int | None,
    typer.Option(
        help="Patients to test on; default: 30,000, or a quarter of all where there are not twice as many.",
        min=1,
        show_default=False,
    ),
]
Indicators = Annotated[bool, typer.Option("--indicators", help="50 more columns that say which values were measured.")]
Decimate = Annotated[
    Literal["1", "2", "4", "5", "10"], typer.Option(help="Keep every n-th ECG sample, anti-aliased; 5 gives 100 Hz.")
]
KeepMap = Annotated[
    bool, typer.Option("--keep-map", help="Also write which row is whose, for your eyes only, beside the folder.")
]
Force = Annotated[bool, typer.Option("--force", help="Make it anew, whatever is there.")]
Jobs = Annotated[int | None, typer.Option(help="Processes; default: one for each core. The data do not depend on it.", min=1)]


def prepare_mimic(
    mimic_iv: MimicIv,
    mimic_iv_ecg: MimicIvEcg,
    out: Out = Path("data/mimic"),
    seed: Seed = 0,
    test_subjects: TestSubjects = None,
    indicators: Indicators = False,
    decimate: Decimate = "1",
    keep_map: KeepMap = False,
    force: Force = False,
    jobs: Jobs = None,
    progress: show.Progress = "auto",
) -> None:
    """Make the MIMIC dataset: laboratory values and ECGs of admissions, to tell death within a year."""
    from data_recipes.mimic import cohort, recipe
    from data_recipes.workers import cores, processes
    from mmal_cli.core.build import build

    asked = {"indicators": indicators, "decimate": int(decimate), "seed": seed}
    _look_first(mimic_iv, mimic_iv_ecg, None if force else out, asked)
    out = out.resolve() if out.name in ("", ".", "..") else out  # the map is called as the folder is
    with _discreet(), processes(jobs or cores()) as in_order:
        with show.progress("ECGs read", "admissions", progress) as bar:
            found = cohort.gather(mimic_iv, mimic_iv_ecg, in_order, lambda name: show.note(f"reading {name}"), bar)
        mimic = recipe.Mimic(found, mimic_iv_ecg, test_subjects, **asked)
        if test_subjects is None and mimic.tested < recipe.PAPER:
            show.note(
                f"test split: {mimic.tested} of {mimic.subjects} patients, a quarter, instead of the paper's {recipe.PAPER:,}"
            )
        _check(mimic)
        with show.progress("mimic", "samples", progress) as bar:
            head, plans, packages = recipe.head(mimic), recipe.plans(mimic, in_order), ("polars", "scipy", "wfdb")
            command = _command(mimic)
            dataset, made = build(out, head, plans, command=command, force=force, on_progress=bar, packages=packages)
    if keep_map:
        _write_map(mimic, out.with_name(f"{out.name}-source-map-{dataset.id}.csv"))
    if not made:
        show.note(f"already done: {out}")
    _print(dataset.counts)
    show.result(out)


def _look_first(mimic_iv: Path, mimic_iv_ecg: Path, out: Path | None, asked: Mapping[str, object]) -> None:
    """What can be seen to be wrong is said before an hour's reading: missing folders, a dataset made otherwise in `out`."""
    from data_recipes.mimic import tables
    from mmal_cli.core import datasets, files

    for folder, name in ((mimic_iv / "hosp", "MIMIC_IV/hosp"), (mimic_iv_ecg, "MIMIC_IV_ECG")):
        if not folder.is_dir():
            raise UserError(f"{name} is not a folder; give MIMIC-IV's folder, then MIMIC-IV-ECG's", BAD_DATA)
    if out and (out / datasets.MANIFEST).exists():
        there = datasets.read(out).recipe
        files.must_match(out, {key: there.get(key) for key in asked}, asked, "choose another --out, or --force to make it anew")
    if missing := tables.unknown_items(mimic_iv / "hosp"):
        show.note(f"d_labitems lists {50 - len(missing)} of the 50 laboratory items, not {', '.join(map(str, missing))}")


@contextmanager
def _discreet() -> Iterator[None]:
    """A bug's traceback without its words, which may quote patients."""
    try:
        yield
    except (UserError, typer.Exit):
        raise
    except Exception as error:
        frames = "".join(traceback.format_tb(error.__traceback__))
        show.note(f"{frames}{type(error).__name__} (its words may quote the data and are left out): please report this")
        raise typer.Exit(1) from None


def _check(mimic) -> None:
    """Reads a few of the ECGs by wfdb too; a difference is an error."""
    from data_recipes.mimic.wfdb_check import compare
    from data_recipes.order import shuffled

    def some(paths: Sequence[str]) -> list[Path]:
        return [mimic.root / paths[k] for k in shuffled(len(paths), mimic.seed, "mimic", "check")[:CHECKED]]

    asked = some(mimic.cohort.table["path"].to_list())
    compared = compare(asked, some(mimic.cohort.refused))
    failed = f" ({len(asked) - compared} that wfdb could not read)" if compared < len(asked) else ""
    show.note(f"{compared} ECGs read by wfdb too: no difference{failed}")


def _command(mimic) -> str:
    """The command that makes this dataset; a manifest holds no paths."""
    words = ["mmal", "prepare-mimic", "MIMIC_IV", "MIMIC_IV_ECG", "--test-subjects", mimic.tested, "--seed", mimic.seed]
    words += ["--decimate", mimic.decimate, *(["--indicators"] if mimic.indicators else [])]
    return shlex.join(map(str, words))


def _write_map(mimic, path: Path) -> None:
    from data_recipes.mimic import recipe
    from mmal_cli.core import files

    text = io.StringIO()
    rows = csv.DictWriter(text, ["id", "subject_id", "hadm_id", "study_id"], lineterminator="\n")
    rows.writeheader()
    rows.writerows(recipe.source_map(mimic))
    files.write_private(path, text.getvalue())
    show.note(f"{path} says which row is whose (readable by you alone): keep it as the data use agreement asks")


def _print(counts: dict) -> None:
    """The cohort, filter after filter, and what became of it."""
    rows = [[step["step"], *(f"{step[name]:,}" for name in ("dropped", "admissions", "subjects"))] for step in counts["cohort"]]
    rows[0][1] = ""
    foot = [f"ECG passed over, {reason}: {n:,}" for reason, n in counts["ecgs_passed_over"].items()]
    for split in ("train", "test"):
        of = counts[split]
        alive, dead = of["classes"]
        foot.append(
            f"{split}: {alive + dead:,} samples of {of['subjects']:,} subjects, {dead:,} dead within a year "
            f"({dead / (alive + dead):.1%}); {of['labs_measured']:.1%} of the laboratory values were measured"
        )
    show.table("", ["filter", "dropped", "admissions left", "subjects left"], rows, "\n".join(foot))
