"""Checks that every relative link in the Markdown pages leads to a file, and every `make` target that they name exists.

Usage: python infra/check_pages.py. Exits with 1 and one line a broken reference.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
TARGET = re.compile(r"`make ([a-z][a-z0-9-]*)")


def pages() -> list[Path]:
    """The Markdown files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    return sorted(ROOT / name for name in set(listed.stdout.splitlines()) if (ROOT / name).exists())


def broken(page: Path, targets: set[str]) -> Iterator[str]:
    """What in `page` leads nowhere."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{page.relative_to(ROOT)}:{number}"
        for link in LINK.findall(line):
            if "://" not in link and not link.startswith("mailto:") and not (page.parent / link).exists():
                yield f"{where}: there is no {link}"
        for target in TARGET.findall(line):
            if target not in targets:
                yield f"{where}: the Makefile has no target {target}"


def main() -> int:
    """The number of broken references, as an exit status of 0 or 1."""
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {name for line in phony for name in line.split()}
    found = [problem for page in pages() for problem in broken(page, targets)]
    for problem in found:
        sys.stderr.write(problem + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
