"""The recommender's environment variables, beside those that every service has."""

from dataclasses import asdict
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from chassis.settings import Address, SinkSettings
from recommender.experiments import Experiment
from recommender.online_features import Lifetimes
from recommender.recall import Quotas
from recommender.reranking import Policy


class RecommenderSettings(SinkSettings):
    """What the recommender's processes are told."""

    inference_address: Address = "127.0.0.1:50052"
    """The model server, any that speaks the Open Inference Protocol."""
    feast_repository: Path = Path(__file__).parents[2] / "infra" / "feast"
    """The folder with the definitions of the entity features."""

    feature_deadline_seconds: float = Field(0.2, gt=0, le=5)
    """How long the online features may take; after it the visitor is answered as an unknown one."""
    recall_deadline_seconds: float = Field(0.15, gt=0, le=5)
    """How long the user tower may take; after it recall goes on with the channels that need no model."""
    ranking_deadline_seconds: float = Field(0.25, gt=0, le=5)
    """How long the ranker may take; after it the answer stands in recall order."""
    index_poll_seconds: float = Field(2.0, gt=0, le=60)
    """How often the model server is asked which tower versions may answer."""
    refresh_seconds: float = Field(1.0, gt=0, le=60)
    """How often items' aggregates, neighbours and popular lists are brought up to what visitors did."""

    quotas: Quotas = Quotas()
    """JSON: candidates by channel, {"candidates": 300, "item_to_item": 80, "popular": 40, "new_items": 20}."""
    policy: Policy = Policy()
    """JSON: what re-ranking weighs, {"relevance": 0.8, "category_share": 0.6, "exploration_probability": 0.1, ...}."""
    experiment: Experiment = Experiment()
    """JSON: a split of the visitors, {"name": "diversity", "arms": [{"name": "control", "share": 0.5},
    {"name": "varied", "share": 0.5, "changes": {"relevance": 0.6}}]}. The first arm is the control."""

    lifetimes: Lifetimes = Lifetimes()
    """JSON: seconds that what is in Redis lives, {"deduplication": ..., "user": ..., "session": ..., "item": ...}."""

    seed_data: Path | None = None
    """The data set that `seed` loads (data.py knows the layouts); unset: MovieLens-100K out of the recbole wheel."""
    seed_cache: Path = Path(".casebook")
    """Where `seed` keeps what it fetched."""
    seed_tenant: str = Field("demo", min_length=1, max_length=128)
    """The tenant that `seed` loads the data for."""

    @field_validator("experiment")
    @classmethod
    def _arms_make_policies(cls, experiment: Experiment) -> Experiment:
        for arm in experiment.arms:
            try:
                TypeAdapter(Policy).validate_python(asdict(arm.applied_to(Policy())))
            except (TypeError, ValidationError) as error:
                raise ValueError(f"arm {arm.name}: {error}") from error
        return experiment
