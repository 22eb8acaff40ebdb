"""Material: a data set made ready for training and for measuring, once for all models."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recommender import features
from recommender.data import Dataset
from recommender.features import Int64Array
from recommender.training import examples, vocabulary
from recommender.training.examples import Catalogue, Part, UserExamples
from recommender.training.vocabulary import Vocabularies


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A data set, its items encoded, its split as the user tower sees it, and what is known of it.

    `popularity` int64 [items]: training interactions of each item; `own[user]`: places of a user's training items.
    """

    dataset: Dataset
    catalogue: Catalogue
    parts: dict[Part, UserExamples]
    popularity: Int64Array
    own: list[set[int]]
    vocabularies: Vocabularies

    def catalogue_rows(self) -> dict[str, Tensor]:
        """The item tower's inputs for every item of the catalogue, as rows."""
        return as_tensors(self.vocabularies.rows(features.dssm_item_inputs(self.catalogue.encoded)))

    def vocabulary_rows(self) -> dict[str, Tensor]:
        """The item tower's inputs for every vocabulary row [V+1, ...]; those of row 0 are not used."""
        places = self.place_of_row()
        chosen = {name: tensor[places] for name, tensor in self.catalogue_rows().items()}
        return chosen | {"item_id": torch.arange(len(places))[:, None]}

    def place_of_row(self) -> Tensor:
        """The place in the catalogue of each vocabulary row: int64 [V+1]; that of row 0 (unknown) means nothing."""
        row_of_place = self.catalogue_rows()["item_id"][:, 0]
        places = torch.zeros(len(self.vocabularies.items) + 1, dtype=torch.int64)
        places[row_of_place] = torch.arange(len(row_of_place))
        return places


def prepare(dataset: Dataset) -> Material:
    """Replays the data set once for each part."""
    catalogue = Catalogue.of(dataset)
    parts = {part: examples.user_examples(dataset, catalogue, part) for part in Part}
    training = parts[Part.TRAIN]
    popularity = np.bincount(training.targets, minlength=len(catalogue))
    own: list[set[int]] = [set() for _ in dataset.users]
    for user, target in zip(training.users, training.targets, strict=True):
        own[user].add(int(target))
    vocabularies = vocabulary.build(
        trained_items=[item.item_id for item, count in zip(dataset.items, popularity, strict=True) if count],
        catalogue=catalogue.encoded,
        genders={user.gender for user in dataset.users},
        occupations={user.occupation for user in dataset.users},
    )
    return Material(dataset, catalogue, parts, popularity, own, vocabularies)


def as_tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The same memory as tensors."""
    return {name: torch.from_numpy(values) for name, values in arrays.items()}
