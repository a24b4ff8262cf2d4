"""What a stranger gets: a whole package, pins that fit, one line where torch and torchvision do not match."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib.metadata import entry_points, metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mmal_cli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Written so that this file does not match itself.
ADDRESSES = re.compile(
    r"py[p]i\.org|python[h]osted|download\.py[t]orch|ana[c]onda\.org|-index[-]url|find[-]links", re.IGNORECASE
)
MACHINE = re.compile(r"(?<![\w.~*/-])/(?:work|home|Users|root|opt|scratch)/\w")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins() -> dict[str, Requirement]:
    lines = [line for line in text("constraints.txt").splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


def test_the_command_is_installed() -> None:
    (script,) = entry_points(group="console_scripts", name="mmal")
    assert script.value == "mmal_cli.app:main"
    assert metadata("mmal")["Requires-Python"] == ">=3.11"
    assert metadata("mmal")["License-Expression"] == "Apache-2.0"


@pytest.mark.parametrize("compiler", ["", "false"])
def test_a_wheel_holds_every_module_every_data_file_and_the_licence(tmp_path: Path, compiler: str) -> None:
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("mmal_cli", "data_recipes"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    kinds = ("py", "yaml", "css", "js", "c", "h")
    expected = {str(path.relative_to(tmp_path)) for kind in kinds for path in tmp_path.glob(f"*/**/*.{kind}")}
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"  # no isolation, hence no network
    place = os.environ | ({"CC": compiler} if compiler else {})
    words = [sys.executable, "-c", build]
    done = subprocess.run(words, cwd=tmp_path, env=place, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("mmal-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert expected <= held, f"not in the wheel: {sorted(expected - held)}"
    assert any(name.endswith("licenses/LICENSE") for name in held)
    built = [name for name in held if name.startswith("mmal_cli/_image_ops.abi3")]
    assert len(built) == (0 if compiler else has_compiler())
    assert "-cp311-abi3-" in wheel.name


def has_compiler() -> bool:
    """Whether an extension of Python can be built here."""
    command, headers = (sysconfig.get_config_var("CC") or "").split(), Path(sysconfig.get_path("include"))
    return bool(command and shutil.which(command[0]) and (headers / "Python.h").exists())


def test_constraints_are_plain_pins() -> None:
    for pin in pins().values():
        (specifier,) = pin.specifier
        assert specifier.operator == "==", f"{pin} is not a pin"
        assert pin.url is None, f"{pin} has an address"
        assert not set("+*") & set(specifier.version), f"{pin} has a local label or a wildcard"
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-", "triton"))], (
        "torch pins these where it needs them"
    )


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())])
def test_every_dependency_has_a_pin_within_its_bounds(line: str) -> None:
    needed = Requirement(line)
    pin = pins().get(canonicalize_name(needed.name))
    assert pin is not None, f"constraints.txt lacks {needed.name}"
    (specifier,) = pin.specifier
    assert needed.specifier.contains(specifier.version), f"{pin} does not fit {line}"


def test_the_message_about_a_pair_names_the_pinned_pair() -> None:
    from mmal_cli import app

    assert f"pip install {pins()['torch']} {pins()['torchvision']}" in app._pair()


def test_licence_changelog_and_citation() -> None:
    licence = text("LICENSE")
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert re.search(r"^### Results changed$", text("CHANGELOG.md"), re.MULTILINE)
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"].startswith("mmal")
    assert citation["version"] == mmal_cli.__version__
    assert citation["license"] == PROJECT["license"]
    assert all({"type", "title", "authors", "year", "doi"} <= paper.keys() for paper in citation["references"])


def test_make_has_the_commands_of_the_readme() -> None:
    makefile = text("Makefile")
    targets = set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    assert targets == {"help", "demo", "test", "engines", "figures", "fusions", "report", "lint", "bench", "clean", "distclean"}
    assert not re.search(r"https?://", makefile)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, ".ci/run is not executable"


def test_no_file_names_a_registry_or_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            found += [f"{name}:{number}: {match[0]}" for pattern in (ADDRESSES, MACHINE) if (match := pattern.search(line))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("see /ho" + "me/someone/data", True),
        ("--out /wo" + "rk/x", True),
        ("--index" + "-url x", True),
        ("files.python" + "hosted.org", True),
        ("data/share, ./work/x, ~/home/x, https://example.org/home/x", False),
    ],
)
def test_the_patterns_see_what_they_forbid(line: str, bad: bool) -> None:
    assert bool(ADDRESSES.search(line) or MACHINE.search(line)) == bad


# What `import torchvision` raises beside a torch that it was not built for (seen with torch 2.13.0+cpu beside torchvision
# 0.28.0 and 0.29.2), and what transformers 5 makes of it. The real mismatch cannot be installed in a test.
NMS = "RuntimeError('operator torchvision::nms does not exist')"
WRAPPED = f"ModuleNotFoundError('Could not import module BertModel. Are its requirements defined correctly?') from {NMS}"


@pytest.mark.parametrize("error", [pytest.param(NMS, id="torchvision"), pytest.param(WRAPPED, id="transformers")])
def test_a_torch_and_torchvision_that_do_not_match_are_one_line(tmp_path: Path, error: str) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise {error}")
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import typer\n"
        "from mmal_cli.app import _guarded\n"
        "def command() -> None:\n"
        "    import torchvision\n"
        "app = typer.Typer(pretty_exceptions_enable=False)\n"
        "app.command()(_guarded(command))\n"
        "app()\n"
    )  # the driver's own folder stands first on sys.path, hence the broken torchvision before the real one
    done = subprocess.run([sys.executable, driver], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: torch and torchvision do not belong together (")
    assert "torchvision::nms does not exist" in line
    assert "pip install torch==" in line
