"""The `mmal` command: one subcommand for each file in `commands/`; the only place that catches UserError."""

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from typer.core import TyperGroup

from mmal_cli import __version__
from mmal_cli.core import plugins
from mmal_cli.core.errors import UserError

PANELS = {1: "Make a dataset", 2: "Run", 3: "Analyse", 4: "Look and measure"}
WIDTH = 100  # columns of help at most
INTERRUPTED = 130


class Grouped(TyperGroup):
    """The commands of a stage below one another. In plain text: typer's drawn help takes half as long again to import."""

    def format_commands(self, ctx, formatter) -> None:
        """Overrides typer's single list, which cuts every line."""
        for panel in PANELS.values():
            commands = [command for command in self.commands.values() if command.rich_help_panel == panel]
            with formatter.section(panel):
                formatter.write_dl([(command.name, command.help.split("\n\n")[0]) for command in commands])


def main() -> None:
    """Runs the command that was typed."""
    build()(prog_name="mmal")


def build() -> typer.Typer:
    """The app, with one subcommand for each file in `commands/`."""
    app = typer.Typer(
        name="mmal",
        cls=Grouped,
        rich_markup_mode=None,
        context_settings={"max_content_width": WIDTH},
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    modules = [importlib.import_module(f"mmal_cli.commands.{name}") for name in plugins.names("commands")]
    for module in sorted(modules, key=lambda module: module.STAGE):
        name = module.__name__.rpartition(".")[2]
        word = name.rstrip("_").replace("_", "-")  # import_.py is import
        app.command(word, rich_help_panel=PANELS[int(module.STAGE)])(_guarded(getattr(module, name)))
    app.callback()(_about)
    return app


def _version(asked: bool) -> None:
    if asked:
        print(f"mmal {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)]


def _about(version: Version = False) -> None:
    """Benchmark of multimodal active learning: make data, run query methods, make tables."""


def _guarded(command: Callable) -> Callable:
    """Turns UserError and Ctrl-C into one message and an exit code; a bug keeps its traceback."""

    @functools.wraps(command)
    def run(*args, **kwargs) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            _stop(f"error: {error}", error.code)
        except KeyboardInterrupt:
            _stop("interrupted: what was finished stays; give the same command again to go on", INTERRUPTED)
        except (ImportError, RuntimeError, OSError) as error:
            cause = _of_torchvision(error)
            if cause is None:
                raise
            _stop(f"error: torch and torchvision do not belong together ({str(cause).splitlines()[0]}); {_pair()}", 2)

    return run


def _of_torchvision(error: BaseException | None) -> BaseException | None:
    """The error of torchvision behind an error, if there is one: transformers wraps it in one that does not name it."""
    while error is not None and "torchvision" not in str(error):
        error = error.__cause__ or error.__context__
    return error


def _pair() -> str:
    from importlib.metadata import PackageNotFoundError, version

    def found(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"no {name}"

    return (
        f"found {found('torch')} and {found('torchvision')}; install a matching pair, for instance: "
        "pip install torch==2.15.0 torchvision==0.29.2"
    )


def _stop(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    raise typer.Exit(code)
