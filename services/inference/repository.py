"""The model repository: Triton's layout (`<model>/<version>/model.onnx`, `<model>/config.pbtxt`) over fsspec.

A version is copied to a local folder before it is loaded, under the fingerprint of its files: a file that changes, or
that is still being written, in the repository never changes under a running model.
"""

import hashlib
import logging
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from google.protobuf import text_format

from casebook.oip import open_inference_pb2 as oip
from chassis.errors import FailedPrecondition, NotFound, Unavailable

CONFIG_FILE = "config.pbtxt"
DEFAULT_MODEL_FILE = "model.onnx"
COMPANIONS = "companions"
INITIAL_STABLE = "initial_stable"

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
# protobuf's Python parser reads over a field that it does not know only when a list of it has a colon in front
# (`model_warmup: [`), which Triton's own files leave out. Strings and comments are matched first, and stay.
_LIST_WITHOUT_COLON = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|#[^\n]*|(?P<name>\w)(?P<gap>\s*)\[')
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RepositoryModel:
    """A model as it stands in the repository: its versions from oldest to newest, and its configuration.

    `error` says why the configuration can't be used; `config` is then empty.
    """

    name: str
    versions: tuple[str, ...]
    config: oip.ModelConfig
    error: str = ""

    @property
    def companions(self) -> tuple[str, ...]:
        """Models whose version of the same number is loaded wherever a version of this one is."""
        listed = self.config.parameters[COMPANIONS].string_value if COMPANIONS in self.config.parameters else ""
        return tuple(name.strip() for name in listed.split(",") if name.strip())

    @property
    def initial_stable(self) -> str:
        """The version that becomes stable when the model has no release yet: as configured, else the newest."""
        if INITIAL_STABLE in self.config.parameters:
            configured = self.config.parameters[INITIAL_STABLE].string_value
            if configured in self.versions:
                return configured
            _log.warning("%s: initial_stable %r is no version of it, the newest is taken", self.name, configured)
        return self.versions[-1]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One version's files on this machine. The fingerprint changes when any of them does, or the configuration."""

    model: str
    version: str
    folder: Path
    config: oip.ModelConfig
    fingerprint: str

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / (self.config.default_model_filename or DEFAULT_MODEL_FILE)


class Repository:
    """Reads the repository at `url` (a folder, or any fsspec address) into `cache`, which no other process may share.

    Blocking: call it in a thread.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self._url = url
        self._fs, self._root = fsspec.url_to_fs(url)
        self._cache = cache
        self._models: Mapping[str, RepositoryModel] = {}

    @property
    def models(self) -> Mapping[str, RepositoryModel]:
        """What the last `scan` found, by name."""
        return self._models

    def model(self, name: str) -> RepositoryModel:
        """One model of the last scan. Raises NotFound."""
        found = self._models.get(name)
        if found is None:
            raise NotFound("model", name, f"{self._url} has {', '.join(self._models) or 'none'}")
        return found

    def scan(self) -> Mapping[str, RepositoryModel]:
        """Lists the repository anew. Raises Unavailable when it can't be read."""
        try:
            self._fs.invalidate_cache()
            folders = [entry for entry in self._fs.ls(self._root, detail=True) if entry["type"] == "directory"]
            models = [self._read_model(_last_part(entry["name"]), entry["name"]) for entry in folders]
        except OSError as error:
            raise Unavailable(f"the model repository {self._url}", str(error)) from error
        self._models = {model.name: model for model in sorted(models, key=lambda m: m.name) if model.versions}
        return self._models

    def fetch(self, name: str, version: str) -> ModelFiles:
        """Copies one version here and returns its files; files that are here already are not copied again.

        Raises NotFound for a version that the repository lacks, FailedPrecondition for a configuration that can't be
        used, Unavailable when the repository can't be read.
        """
        model = self.model(name)
        if version not in model.versions:
            raise NotFound(f"version of model {name}", version, f"the repository has {', '.join(model.versions)}")
        if model.error:
            raise FailedPrecondition(f"model {name}", model.error)
        try:
            return self._fetch(model, version)
        except OSError as error:
            raise Unavailable(f"version {version} of model {name} in {self._url}", str(error)) from error

    def fingerprint(self, name: str, version: str) -> str:
        """The fingerprint of a version as it stands in the repository now."""
        return _fingerprint(self._files(f"{self._root}/{name}/{version}"), self.model(name).config)

    def _fetch(self, model: RepositoryModel, version: str) -> ModelFiles:
        source = f"{self._root}/{model.name}/{version}"
        files = self._files(source)
        fingerprint = _fingerprint(files, model.config)
        target = self._cache / model.name / f"{version}@{fingerprint}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=target.parent))
            try:
                for relative, entry in files.items():
                    local = incoming / relative
                    local.parent.mkdir(parents=True, exist_ok=True)
                    self._fs.get_file(entry["name"], str(local))
                    if local.stat().st_size != entry["size"]:
                        raise OSError(f"{relative} changed while it was read")
                incoming.rename(target)
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
            for old in target.parent.glob(f"{version}@*"):
                if old != target:
                    shutil.rmtree(old, ignore_errors=True)
        return ModelFiles(model.name, version, target, model.config, fingerprint)

    def _files(self, folder: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self._fs.find(folder, detail=True)
        prefix = folder.rstrip("/") + "/"
        return {path.removeprefix(prefix): entry for path, entry in sorted(found.items())}

    def _read_model(self, name: str, path: str) -> RepositoryModel:
        if not _MODEL_NAME.fullmatch(name):
            return RepositoryModel(name, (), oip.ModelConfig())
        config, error = self._read_config(name, path)
        file = config.default_model_filename or DEFAULT_MODEL_FILE
        folders = [entry["name"] for entry in self._fs.ls(path, detail=True) if entry["type"] == "directory"]
        versions = [_last_part(folder) for folder in folders]
        complete = [v for v in versions if _VERSION.fullmatch(v) and self._fs.exists(f"{path}/{v}/{file}")]
        return RepositoryModel(name, tuple(sorted(complete, key=int)), config, error)

    def _read_config(self, name: str, path: str) -> tuple[oip.ModelConfig, str]:
        file = f"{path}/{CONFIG_FILE}"
        if not self._fs.exists(file):
            return oip.ModelConfig(name=name), ""  # as Triton does for ONNX: the model itself says what it takes
        try:
            text = _LIST_WITHOUT_COLON.sub(_with_colon, self._fs.cat_file(file).decode())
            config = text_format.Parse(text, oip.ModelConfig(), allow_unknown_field=True)
        except (text_format.ParseError, UnicodeDecodeError) as error:
            return oip.ModelConfig(), f"{CONFIG_FILE}: {error}"
        if config.name and config.name != name:
            return oip.ModelConfig(), f"{CONFIG_FILE}: name is {config.name!r} in the folder {name!r}"
        config.name = name
        return config, ""


def _fingerprint(files: Mapping[str, Mapping[str, Any]], config: oip.ModelConfig) -> str:
    """Sizes and what the file system knows of changes (an ETag, a time), so that no file is read for it."""
    digest = hashlib.blake2b(config.SerializeToString(deterministic=True), digest_size=8)
    for relative, entry in files.items():
        changed = next((str(entry[key]) for key in ("ETag", "etag", "md5", "mtime", "created") if entry.get(key)), "")
        digest.update(f"\0{relative}\0{entry['size']}\0{changed}".encode())
    return digest.hexdigest()


def _with_colon(match: re.Match[str]) -> str:
    return f"{match['name']}:{match['gap']}[" if match["name"] else match[0]


def _last_part(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]
