"""A secret out of the environment, or out of the file that `<variable>_FILE` names, as the services read theirs."""

import os
from pathlib import Path


def secret(variable: str) -> str:
    """Empty where neither is set."""
    file = os.environ.get(f"{variable}_FILE", "")
    return os.environ.get(variable) or (Path(file).read_text().strip() if file else "")
