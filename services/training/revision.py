"""Which code trained a model."""

import functools
import os
import subprocess
from pathlib import Path


@functools.cache
def code_revision(*deciding: Path) -> str:
    """The commit of the code, with `-dirty` where one of the files or folders that decide a training differs from it.

    In an image it is the commit that the image was built from (CASEBOOK_REVISION); `unknown` without that and git.
    Asked once, when a training begins: by its end the files may have changed.
    """
    if built_from := os.environ.get("CASEBOOK_REVISION"):
        return built_from
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", *map(str, deciding))
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10)  # noqa: S603
    return done.stdout.strip()
