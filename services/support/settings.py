"""Support's environment variables, beside those that every service has."""

from pathlib import Path

from pydantic import Field

from chassis.settings import Address, SinkSettings

DEMO = Path(__file__).parent / "demo"


class SupportSettings(SinkSettings):
    """What support's processes are told."""

    inference_address: Address = "127.0.0.1:50052"
    """The model server, any that speaks the Open Inference Protocol."""
    support_address: Address = "127.0.0.1:50051"
    """Where `serve` answers; `timers` asks it to calibrate."""
    model_repository: Path = Path("models")
    """The folder of the model repository: the encoders' vocabularies lie beside their models."""
    vector_cache: Path = Path(".casebook") / "vectors"
    """The folder where vectors are kept by text and model: a restart encodes nothing twice."""
    vector_cache_most: int = Field(1_000_000, ge=10_000, le=100_000_000)
    """Vectors that are kept of a model, 0.8 KB each; past it the folder is begun anew."""

    retrieval_deadline_seconds: float = Field(0.25, gt=0, le=5)
    """How long the encoder may take over a question; after it words alone answer."""
    context_deadline_seconds: float = Field(0.2, gt=0, le=5)
    """How long Redis may take over a conversation; after it the question is answered as if it were the first."""
    desk_deadline_seconds: float = Field(0.5, gt=0, le=5)
    """How long PostgreSQL may take to say whether a person has the conversation."""
    conversation_ttl_seconds: int = Field(86_400, ge=60, le=30 * 86_400)
    """How long a conversation is kept after its last turn."""
    handoff_keep_days: int = Field(90, ge=1, le=3_650)
    """How long a resolved hand-off is kept."""

    index_poll_seconds: float = Field(2.0, gt=0, le=60)
    """How often the model server is asked which encoders may answer. A changed article does not wait for it."""
    quality_poll_seconds: float = Field(2.0, gt=0, le=60)
    """How often calibrations and chosen risks are looked up: so soon every replica follows a change."""
    calibrate_seconds: float = Field(120.0, gt=0, le=290)
    """How long fitting the calibrations of a base may take."""
    calibrate_concurrency: int = Field(4, ge=1, le=64)
    """Labelled questions that are retrieved at a time meanwhile: the rest of the machine answers customers."""
    calibrate_questions: int = Field(2_000, ge=100, le=100_000)
    """The newest labelled questions of a language that a calibration is fitted to."""
    recalibrate_after_seconds: float = Field(20.0, gt=0, le=3_600)
    """`timers` has a base calibrated once its labels have not changed for so long."""

    seed_articles: Path = DEMO / "articles.jsonl"
    """The articles that `seed` loads, one JSON object a line."""
    seed_questions: Path = DEMO / "questions.jsonl"
    """The labelled questions that `seed` loads, one JSON object a line."""
    seed_tenant: str = Field("demo", min_length=1, max_length=128)
    """The tenant that `seed` loads for."""
    seed_knowledge_base: str = Field("bank", pattern=r"^[a-z0-9_-]{1,64}$")
    """The knowledge base that `seed` loads."""
    seed_target_risk: float = Field(0.05, ge=0.001, le=0.5)
    """The share of wrong answers that it accepts at first. A few hundred labelled questions cannot promise 2 %:
    one wrong answer among them decides whether anything is answered."""
