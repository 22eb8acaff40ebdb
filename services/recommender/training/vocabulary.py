"""Vocabularies: from fingerprints, which travel, to embedding rows, which live inside a model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from recommender.features import PADDING, EncodedItems, Int64Array, fingerprint


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """`fingerprints` int64 [V], sorted: the one at index i has row i + 1; row 0 is padding and everything unknown."""

    fingerprints: Int64Array

    @staticmethod
    def of(fingerprints: Iterable[int] | Int64Array) -> "Vocabulary":
        """The vocabulary of these values; padding is left out."""
        values = np.unique(np.fromiter(fingerprints, np.int64))
        return Vocabulary(values[values != PADDING])

    def __len__(self) -> int:
        return len(self.fingerprints)

    def rows(self, fingerprints: Int64Array) -> Int64Array:
        """The row of each fingerprint, in the same shape; 0 for one that is not known."""
        if not len(self.fingerprints):
            return np.zeros_like(fingerprints)
        places = np.searchsorted(self.fingerprints, fingerprints).clip(max=len(self.fingerprints) - 1)
        return np.where(self.fingerprints[places] == fingerprints, places + 1, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Vocabularies:
    """One vocabulary for each kind of value."""

    items: Vocabulary
    categories: Vocabulary
    tokens: Vocabulary
    genders: Vocabulary
    occupations: Vocabulary
    first_year: int
    last_year: int

    def of_input(self, name: str) -> Vocabulary | None:
        """The vocabulary that the model input `name` goes through; None for one that is taken as it is.

        This one table encodes the training data and puts the LabelEncoder nodes into the exported graph.
        """
        return {
            "history_items": self.items,
            "item_id": self.items,
            "candidate_items": self.items,
            "item_categories": self.categories,
            "candidate_categories": self.categories,
            "item_title_tokens": self.tokens,
            "user_gender": self.genders,
            "user_occupation": self.occupations,
        }.get(name)

    def rows(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Model inputs with embedding rows in the place of fingerprints."""
        encoded = {}
        for name, values in inputs.items():
            vocabulary = self.of_input(name)
            encoded[name] = vocabulary.rows(values) if vocabulary else values
        return encoded


def build(
    trained_items: Iterable[str], catalogue: EncodedItems, genders: Iterable[str], occupations: Iterable[str]
) -> Vocabularies:
    """Vocabularies for a training run.

    Only items with training interactions get a row of their own: an embedding that was never trained is noise, and the
    others are served from their content. A title token counts when two items share it.
    """
    tokens, seen = np.unique(catalogue.title_tokens, return_counts=True)
    years = catalogue.years[catalogue.years > 0]
    return Vocabularies(
        items=Vocabulary.of(fingerprint(item) for item in trained_items),
        categories=Vocabulary.of(catalogue.categories.ravel()),
        tokens=Vocabulary.of(tokens[seen > 1]),
        genders=Vocabulary.of(fingerprint(gender) for gender in genders),
        occupations=Vocabulary.of(fingerprint(occupation) for occupation in occupations),
        first_year=int(years.min()) if len(years) else 0,
        last_year=int(years.max()) if len(years) else 0,
    )
