"""The encoders without a model server: `ports.Encoder` over ONNX Runtime in this process, every vector cached on
disk."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from encoders import build
from encoders.bench import Run, run_of, session
from encoders.build import MODEL_FILE
from encoders.text import Tokeniser
from support.encoding import LENGTHS_OF, MODELS, ROWS, VectorCache, VectorFile, rounded
from support.knowledge import Language
from support.ports import DIMENSIONS, Float32Array, ModelUnavailable


class InProcessEncoder:
    """One version of each language's encoder, out of a model repository.

    As the service has it: questions one by one, phrasings in batches of like length. The 8-bit arithmetic scales a
    whole call at once, so a text's vector depends a little on what it is encoded with.
    """

    def __init__(self, repository: Path, versions: Mapping[Language, str], cache: VectorCache) -> None:
        self._versions = versions
        self._folders = {language: repository / MODELS[language] / version for language, version in versions.items()}
        self._tokenisers = {language: Tokeniser(folder) for language, folder in self._folders.items()}
        self._digests = {language: _digest(folder / MODEL_FILE) for language, folder in self._folders.items()}
        self._runs: dict[Language, Run] = {}
        self._cache = cache

    async def encode(
        self, texts: Sequence[str], language: Language, *, version: str = "", request_key: str = ""
    ) -> tuple[Float32Array, str]:
        """See `ports.Encoder`; each by itself, and kept: they are asked again in the next run. `request_key` chooses
        nothing here."""
        name = self._name(language, version)
        return self._kept(texts, language, "questions", rows=1), name

    async def phrasings(self, texts: Sequence[str], language: Language, version: str) -> Float32Array:
        """See `ports.Encoder`."""
        self._name(language, version)
        return self._kept(texts, language, "phrasings", ROWS)

    async def versions(self, language: Language) -> list[str]:
        """See `ports.Encoder`."""
        return [self._versions[language]] if language in self._versions else []

    def trained_on(self, language: Language) -> frozenset[str]:
        """The data sets that the language's encoder was fine-tuned on."""
        return build.trained_on(self._folders[language])

    def _name(self, language: Language, version: str) -> str:
        if language not in self._versions or version not in ("", self._versions[language]):
            raise ModelUnavailable(f"{MODELS[language]}/{version} is not loaded")
        return f"{MODELS[language]}/{self._versions[language]}"

    def _kept(self, texts: Sequence[str], language: Language, kind: str, rows: int) -> Float32Array:
        file = self._cache.of(f"{self._name(language, '')}-{self._digests[language]}-{kind}")
        vectors, missing = file.get(texts)
        if len(missing):
            wanted = [texts[place] for place in missing.tolist()]
            vectors[missing] = self._encoded(wanted, language, file, rows)
        return vectors

    def _run(self, language: Language) -> Run:
        run = self._runs.get(language)
        if run is None:
            run = self._runs[language] = run_of(session(str(self._folders[language] / MODEL_FILE)))
        return run

    def _encoded(self, texts: Sequence[str], language: Language, file: VectorFile, rows: int) -> Float32Array:
        run = self._run(language)
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for places, tokens in self._tokenisers[language].batches(texts, rows, LENGTHS_OF):
            vectors[places] = run(tokens.input_ids, tokens.attention_mask)
        vectors = rounded(vectors)
        file.add(texts, vectors)
        return vectors


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]
