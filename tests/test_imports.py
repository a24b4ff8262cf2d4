"""Holds the house together: who may import whom, what may be imported at start, and how long files and functions get."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mmal_cli", "data_recipes")

# The levels from the bottom up (docs/decisions.md, "Imports point down"). A module imports its own level and below.
# A new module or package of mmal_cli goes into exactly one row; a package stands for all that is in it.
LEVELS = [
    "mmal_cli core",
    "data depthwise compiled affine image_ops augment moddrop pool sheet nearest gradients metrics device official "
    "data_recipes",
    "encoders fusions queries",
    "method model predict batches fixmatch train pretraining",
    "cell start first loop annotation runs tune sweep costs grid_runs engines analysis report bench doctor checking exchange",
    "commands show show_stats formats dataset_card",
    "app __main__",
]
SHELL = ("mmal_cli.app", "mmal_cli.commands", "mmal_cli.show")
SLOW = {"torch", "torchvision", "transformers", "h5py", "scipy", "sklearn"}
NEVER_NAMED = {"utils", "helpers", "common", "base", "manager"}
UNSAFE_YAML = re.compile(r"(full_|unsafe_)?load(_all)?|(Full|Unsafe)?Loader")
READS_YAML = "mmal_cli.core.files"  # the one module that may name a loader, the safe one in C
FILE_LINES, FUNCTION_LINES = 250, 45


def name_of(path: Path) -> str:
    """mmal_cli/core/files.py -> mmal_cli.core.files; a package's __init__ has the package's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
TESTS = {f"tests.{path.stem}": path for path in sorted((ROOT / "tests").glob("*.py"))}
each_module = pytest.mark.parametrize("module", MODULES)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((MODULES | TESTS)[module].read_text(encoding="utf-8"))


def within(module: str, room: str) -> bool:
    """Whether a module is a room or in it."""
    return module == room or module.startswith(f"{room}.")


def level(module: str) -> int:
    """The row of the module's room: the first part of its name below mmal_cli."""
    first, *rest = module.split(".")
    room = rest[0] if first == "mmal_cli" and rest else first
    found = [number for number, rooms in enumerate(LEVELS) if room in rooms.split()]
    assert len(found) == 1, (
        f"{room!r} stands in {len(found)} rows of LEVELS in tests/test_imports.py, expected 1: add it to its level"
    )
    return found[0]


def imports(node: ast.AST, module: str, late: bool = True) -> Iterator[str]:
    """Dotted names that the code imports; with late=False only those that importing the module runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            source = absolute(child, module)
            yield from (f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source for alias in child.names)
        elif late or not (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or for_types(child)):
            yield from imports(child, module, late)


def absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def own(module: str) -> set[str]:
    """The modules of ours that a module imports, early or late."""
    return {name for name in imports(tree(module), module) if name.split(".")[0] in PACKAGES} - {module}


def foreign(module: str, late: bool = True) -> set[str]:
    """The top names of what a module imports from elsewhere."""
    return {name.split(".")[0] for name in imports(tree(module), module, late)} - set(PACKAGES)


@each_module
def test_imports_point_down(module: str) -> None:
    here = level(module)
    up = sorted(name for name in own(module) if level(name) > here)
    assert not up, f"{module} is on level {here} and imports from above: {up}"


def test_no_import_leads_back() -> None:
    """Modules of one level may import one another, hence the test for circles; late imports count."""
    left = {module: own(module) & MODULES.keys() for module in MODULES}
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"these import one another in a circle, or lean on one: {sorted(left)}"


@each_module
def test_each_library_has_its_rooms(module: str) -> None:
    used = foreign(module)
    assert "click" not in used, f"{module} imports click: Typer carries its own"
    if not any(within(module, room) for room in SHELL):
        assert not used & {"typer", "rich"}, f"{module} imports typer or rich: only commands/, show.py and app.py do"
    if module != "mmal_cli.core.shards":
        assert "h5py" not in used, f"{module} imports h5py: only core/shards.py does"
    if within(module, "data_recipes"):
        assert not used & {"torch", "torchvision", "transformers"}, f"{module} imports torch: recipes are numpy"
        above = {name for name in own(module) if not any(within(name, room) for room in ("mmal_cli.core", "data_recipes"))}
        assert not above, f"{module} imports {sorted(above)}: recipes import mmal_cli.core and one another only"


@pytest.mark.parametrize("module", TESTS)
def test_tests_never_import_click(module: str) -> None:
    assert "click" not in {name.split(".")[0] for name in imports(tree(module), module)}


@pytest.mark.parametrize("module", [*MODULES, *TESTS])
def test_yaml_is_read_safely(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module == "yaml":
            used = {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "yaml":
            used = {node.attr}
        else:
            continue
        unsafe = sorted(filter(UNSAFE_YAML.fullmatch, used)) if module != READS_YAML else []
        assert not unsafe, f"{module}:{node.lineno} uses {unsafe} of yaml: only yaml.safe_load reads"


@each_module
def test_names_say_something(module: str) -> None:
    assert not set(module.split(".")) & NEVER_NAMED, f"{module}: name it after what it holds"


@pytest.mark.parametrize("module", [name for name in MODULES if any(within(name, room) for room in (*SHELL, "mmal_cli.core"))])
def test_slow_libraries_wait(module: str) -> None:
    early = foreign(module, late=False) & SLOW
    assert not early, f"{module} imports {sorted(early)} when it is imported: import it in the function that needs it"


def test_help_loads_no_slow_library() -> None:
    code = (
        "import sys; from mmal_cli.app import main; sys.argv = ['mmal', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('loaded', sorted({SLOW | {'numpy', 'PIL', 'pandas', 'matplotlib'}} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


@pytest.mark.parametrize("path", sorted((ROOT / "mmal_cli").rglob("*.[ch]")), ids=lambda path: path.name)
def test_files_of_c_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


@each_module
def test_files_and_functions_are_short(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{MODULES[module]} has {lines} lines, at most {FILE_LINES}: what else is it about?"
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1 - docstring_lines(node)
            assert length <= FUNCTION_LINES, f"{module}.{node.name} has {length} lines, at most {FUNCTION_LINES}"


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    return first.end_lineno - first.lineno + 1 if ast.get_docstring(node, clean=False) is not None else 0


def test_the_tests_above_see_what_they_forbid() -> None:
    code = ast.parse(
        "from __future__ import annotations\nimport os.path\nif TYPE_CHECKING:\n    import torch\n"
        "class A:\n    from mmal_cli.core import files, nothing\ndef f():\n    from . import shards\n"
    )
    module = "mmal_cli.core.manifest"
    early = ["__future__", "os.path", "mmal_cli.core.files", "mmal_cli.core"]
    assert list(imports(code, module, late=False)) == early
    assert set(imports(code, module)) == {*early, "torch", "mmal_cli.core.shards"}
