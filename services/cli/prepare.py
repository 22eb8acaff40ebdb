"""What must be there before the first start. May be repeated: what is there stays."""

import shutil
from collections.abc import Callable
from pathlib import Path

from cli.errors import CommandError
from cli.home import Home
from cli.topology import CHECKOUT

SHIPPED_MODELS = CHECKOUT / "infra" / "models"


def prepare(home: Home, cache: Path, say: Callable[[str], None]) -> Path:
    """Puts the models into the data folder and MovieLens-100K into `<cache>/ml-100k`; returns the latter.

    Raises:
        CommandError: the data are not there and cannot be fetched; says what to do.
    """
    from recommender.data import DataError, fetch_movielens_100k

    say("MovieLens-100K")
    try:
        data = fetch_movielens_100k(cache)
    except DataError as error:
        raise CommandError(str(error)) from error
    say("models")
    copy_models(SHIPPED_MODELS, home.folder("models"))
    return data


def copy_models(shipped: Path, repository: Path) -> list[str]:
    """Copies the shipped versions that the repository lacks or holds in another state.

    Returns what was copied, "<model>/<version>" each. Versions that were trained here, and so are not shipped, stay.
    """
    copied = []
    for model in sorted(folder for folder in shipped.iterdir() if folder.is_dir()):
        target = repository / model.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(model / "config.pbtxt", target / "config.pbtxt")
        for version in sorted(folder for folder in model.iterdir() if folder.is_dir()):
            if _contents(version) != _contents(target / version.name):
                shutil.rmtree(target / version.name, ignore_errors=True)
                shutil.copytree(version, target / version.name)
                copied.append(f"{model.name}/{version.name}")
    return copied


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*") if file.is_file()}
