"""Checks that every relative link in the Markdown pages leads to a file, every `make` target that they name exists, and
a page in Chinese has the figures of the English one.

Usage: python infra/check_pages.py. Exits with 1 and one line a broken reference or a figure that differs.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
TARGET = re.compile(r"`make ([a-z][a-z0-9-]*)")
TRANSLATED = ".zh-CN.md"
HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
FIGURE = re.compile(r"(?<![\w@./])(?>\d+(?:[.,]\d+)*)(?!\w)(?:\s*%)?", re.ASCII)
"""A number in digits, with its per cent sign; not those in names (MovieLens-100K, banking77, HR@10) and paths."""


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


def figures(text: str) -> dict[str, None]:
    """The numbers of a text as they are written, in their order; "5 %" is another one than "5"."""
    return dict.fromkeys("".join(found.split()) for found in FIGURE.findall(text))


def differing(original: str, translation: str) -> Iterator[str]:
    """What of two pages' figures does not agree; their sections are each other's counterparts by their order.

    A section of the translation has all figures of its original, and none that the original page lacks: it may say
    more in a place of its own, but nothing new.
    """
    known = figures(original)
    yield from (f"{figure} is not in the original" for figure in figures(translation) if figure not in known)
    titles, names = HEADING.findall(original), HEADING.findall(translation)
    if len(titles) != len(names):
        yield f"has {len(names)} sections, the original {len(titles)}"
        return
    pairs = zip(["the head", *titles], HEADING.split(original)[::2], HEADING.split(translation)[::2], strict=True)
    for title, section, translated in pairs:
        there = figures(translated)
        yield from (f"{figure} of “{title}” is missing" for figure in figures(section) if figure not in there)


def stale(page: Path) -> Iterator[str]:
    """Which figures of a translated page differ from the page that it translates."""
    original = page.with_name(page.name.removesuffix(TRANSLATED) + ".md")
    for difference in differing(original.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")):
        yield f"{page.relative_to(ROOT)}: {difference} ({original.relative_to(ROOT)})"


def main() -> int:
    """Whether anything is broken or differs, as an exit status of 0 or 1."""
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {name for line in phony for name in line.split()}
    found = [problem for page in pages() for problem in broken(page, targets)]
    found += [problem for page in pages() if page.name.endswith(TRANSLATED) for problem in stale(page)]
    for problem in found:
        sys.stderr.write(problem + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
