"""`python -m cli.shipped_models FOLDER`: puts the models that came with this version into a model repository.

Nothing but the standard library: the image that runs it holds Python, this file and the models.
"""

import shutil
import sys
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "infra" / "models"


def copy_models(shipped: Path, repository: Path) -> list[str]:
    """Copies the shipped versions that the repository lacks or holds in another state.

    Returns what was copied, "<model>/<version>" each. Versions that were trained here, and so are not shipped, stay.
    What has no model.onnx is not a model yet: a text encoder's delta, which `python -m encoders build` makes one of.
    """
    copied = []
    for model in sorted({file.parents[1] for file in shipped.glob("*/*/model.onnx")}):
        target = repository / model.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(model / "config.pbtxt", target / "config.pbtxt")
        for version in sorted(file.parent for file in model.glob("*/model.onnx")):
            if _contents(version) != _contents(target / version.name):
                shutil.rmtree(target / version.name, ignore_errors=True)
                shutil.copytree(version, target / version.name)
                copied.append(f"{model.name}/{version.name}")
    return copied


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*") if file.is_file()}


if __name__ == "__main__":
    [_, folder] = sys.argv
    print(*copy_models(SHIPPED, Path(folder)) or ["nothing new"], sep="\n")
