"""The towers' way: train both, and write the two graphs that serve."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recommender import features
from recommender.training import export, measures
from recommender.training.dssm import Dssm
from recommender.training.examples import Part
from recommender.training.export import Exported
from recommender.training.material import Material, as_tensors
from recommender.training.recipes import TowerRecipe
from recommender.training.served import ITEM_TOWER, USER_TOWER
from training import fitting
from training.fitting import Fitted, Report

CHECKED_USERS = 256
"""Moments of the test part that ONNX is compared with PyTorch on; of the items, all are."""


def train(
    material: Material, recipe: TowerRecipe, report: Report, checkpoint: Path | None = None
) -> tuple[Dssm, Fitted]:
    """Trains both towers; stops early by recall@50 on the validation part."""
    torch.manual_seed(recipe.schedule.seed)
    shares = material.popularity / material.popularity.sum()
    dssm = Dssm(
        material.vocabularies,
        recipe.hyperparameters,
        material.catalogue_rows(),
        material.vocabulary_rows(),
        torch.from_numpy(shares.astype(np.float32)),
    )
    training, validation = material.parts[Part.TRAIN], material.parts[Part.VALIDATION]
    examples = as_tensors(material.vocabularies.rows(training.inputs)) | {"target": torch.from_numpy(training.targets)}
    inputs = as_tensors(material.vocabularies.rows(validation.inputs))

    def recall_at_50() -> float:
        device = dssm.popularity.device
        users = dssm.user_vectors({name: tensor.to(device) for name, tensor in inputs.items()})
        scores = (users @ dssm.item_vectors().T).cpu().numpy()
        return measures.hit_rate(measures.ranks_of_targets(scores, validation), 50)

    run = fitting.run_name(material.dataset.sha256, recipe)
    fitted = fitting.fit(dssm, examples, recall_at_50, recipe.schedule, checkpoint=checkpoint, run=run, report=report)
    return dssm.cpu(), fitted


def export_towers(dssm: Dssm, material: Material, repository: Path, version: int) -> dict[str, Exported]:
    """Writes `dssm_user` and `dssm_item`, and their configurations."""
    users = {name: values[:CHECKED_USERS] for name, values in material.parts[Part.TEST].inputs.items()}
    items = features.dssm_item_inputs(material.catalogue.encoded)
    return {
        USER_TOWER: export.write_version(
            ServedUserTower(dssm).eval(),
            users,
            "user_vector",
            open_inputs=list(users),
            vocabularies=material.vocabularies,
            target=export.Target(
                repository,
                USER_TOWER,
                version,
                max_batch_size=64,
                # Vectors of two versions do not share a space: who loads a user tower needs its item tower.
                parameters={"companions": ITEM_TOWER},
            ),
        ),
        ITEM_TOWER: export.write_version(
            dssm.item_tower.eval(),
            items,
            "item_vector",
            open_inputs=list(items),
            vocabularies=material.vocabularies,
            target=export.Target(repository, ITEM_TOWER, version, max_batch_size=1024),
        ),
    }


class ServedUserTower(nn.Module):
    """The user tower with its table of items as a constant of the graph."""

    def __init__(self, dssm: Dssm) -> None:
        super().__init__()
        self.tower = dssm.user_tower
        with torch.no_grad():
            self.register_buffer("table", dssm.eval().history_table())

    def forward(
        self,
        history_items: Tensor,
        history_ratings: Tensor,
        user_age_bucket: Tensor,
        user_gender: Tensor,
        user_occupation: Tensor,
    ) -> Tensor:
        """float32 [B, 64] of length 1."""
        table = self.get_buffer("table")
        vector: Tensor = self.tower(
            history_items, history_ratings, user_age_bucket, user_gender, user_occupation, table
        )
        return vector
