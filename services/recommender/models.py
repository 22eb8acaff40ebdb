"""The towers and the ranker, as the model server serves them."""

from chassis.models import ModelClient
from recommender.ports import Scores, Tensors, Vectors

USER_TOWER = "dssm_user"
ITEM_TOWER = "dssm_item"
RANKER = "din"
BUILD_SECONDS = 5.0
"""How long a batch of item vectors may take: nobody waits for it."""


class InferenceModels:
    """The ports `UserTower`, `ItemTower` and `Ranker`."""

    def __init__(self, client: ModelClient, recall_seconds: float, ranking_seconds: float) -> None:
        self._client = client
        self._recall_seconds = recall_seconds
        self._ranking_seconds = ranking_seconds

    async def user_vector(self, inputs: Tensors, request_key: str, version: str = "") -> Vectors:
        """float32 [1, 64]. Raises ModelUnavailable."""
        seconds = self._recall_seconds
        found = await self._client.infer(USER_TOWER, inputs, seconds=seconds, key=request_key, version=version)
        return Vectors(found.values, found.version)

    async def item_vectors(self, inputs: Tensors, version: str) -> Vectors:
        """float32 [n, 64]. Raises ModelUnavailable."""
        found = await self._client.infer(ITEM_TOWER, inputs, seconds=BUILD_SECONDS, version=version)
        return Vectors(found.values, found.version)

    async def scores(self, inputs: Tensors, request_key: str) -> Scores:
        """float32 [n]. Raises ModelUnavailable."""
        found = await self._client.infer(RANKER, inputs, seconds=self._ranking_seconds, key=request_key)
        return Scores(found.values.reshape(-1), found.version)

    async def tower_versions(self) -> list[str]:
        """The versions of the user tower that are loaded, oldest first. Raises ModelUnavailable."""
        return await self._client.loaded_versions(USER_TOWER)
