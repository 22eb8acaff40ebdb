"""`python -m cli.shipped_models FOLDER [MODEL...]`: puts the models of this version into a model repository.

All of them, or those that are named. Nothing but the standard library: the image that runs it holds Python, this file
and the models.
"""

import filecmp
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "infra" / "models"


def copy_models(shipped: Path, repository: Path, wanted: Collection[str] = ()) -> list[str]:
    """Copies the shipped versions of the `wanted` models (none: of all) that the repository lacks or holds otherwise.

    Returns what was copied, "<model>/<version>" each. Versions that were trained here, and so are not shipped, stay.
    What has no model.onnx is not a model yet: a text encoder's delta, which `python -m encoders build` makes one of.
    Raises ValueError, naming it, for a wanted model that is not shipped.
    """
    models = {file.parents[1].name: file.parents[1] for file in shipped.glob("*/*/model.onnx")}
    if unknown := set(wanted) - models.keys():
        raise ValueError(f"there is no model {min(unknown)!r} here; there are {', '.join(sorted(models))}")
    copied = []
    for name in sorted(wanted or models):
        target = repository / name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(models[name] / "config.pbtxt", target / "config.pbtxt")
        for version in sorted(file.parent for file in models[name].glob("*/model.onnx")):
            if not _same(version, target / version.name):
                shutil.rmtree(target / version.name, ignore_errors=True)
                shutil.copytree(version, target / version.name)
                copied.append(f"{name}/{version.name}")
    return copied


def _same(folder: Path, other: Path) -> bool:
    """Whether both hold the same files, byte by byte."""
    names, others = ({file.name for file in each.glob("*") if file.is_file()} for each in (folder, other))
    return names == others and not any(filecmp.cmpfiles(folder, other, names, shallow=False)[1:])


if __name__ == "__main__":
    [_, folder, *models] = sys.argv
    try:
        print(*copy_models(SHIPPED, Path(folder), models) or ["nothing new"], sep="\n")
    except ValueError as error:
        sys.exit(str(error))
