"""What operators see of the recommender: by model AND version, by channel, by arm."""

from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Observation

from chassis import telemetry
from recommender.catalogue import Catalogues
from recommender.index import Indexes
from recommender.recommend import Recommendation

SCORE_BUCKETS = tuple(tenth / 10 for tenth in range(1, 10))
"""Ten bins of probability; infra/prometheus/rules/recommender.yaml compares their shares with the day before."""
AGE_BUCKETS = (1.0, 5.0, 30.0, 60.0, 600.0, 3600.0, 86_400.0, 7 * 86_400.0, 30 * 86_400.0, 365 * 86_400.0)

_meter = telemetry.meter("casebook.recommender")
_scores = _meter.create_histogram(
    "casebook.recommender.score",
    description="The ranker's probabilities of the items shown; their drift is watched by PSI.",
    explicit_bucket_boundaries_advisory=SCORE_BUCKETS,
)
_feature_age = _meter.create_histogram(
    "casebook.recommender.feature.age",
    unit="s",
    description="From the newest event of a live sequence to the answer that it went into.",
    explicit_bucket_boundaries_advisory=AGE_BUCKETS,
)
_stage = telemetry.latency_histogram("casebook.recommender.stage.duration", "Time of each stage of an answer")
_candidates = _meter.create_counter(
    "casebook.recommender.candidates", description="Candidates that each channel brought, repeats between channels too."
)
_served = _meter.create_counter(
    "casebook.recommender.served", description="Answers, by arm and versions, and by whether a stage took its fallback."
)
_shown = _meter.create_counter(
    "casebook.recommender.items.served", description="Items shown, by arm, and by whether they were put there to learn."
)
_degraded = _meter.create_counter("casebook.recommender.degraded", description="Fallbacks taken, by stage.")
dropped = _meter.create_counter(
    "casebook.recommender.served.dropped", description="Answers that the log of what was served does not have, by why."
)
events = _meter.create_counter(
    "casebook.recommender.events",
    description="Behaviour events, by action and outcome, and by the arm of the recommendation that led to them.",
)
p_value = _meter.create_gauge(
    "casebook.recommender.experiment.p_value",
    description="Two-proportion z-test of an arm's click rate against the control's.",
)
lift = _meter.create_gauge(
    "casebook.recommender.experiment.lift", description="An arm's click rate less the control's."
)


class Coverage:
    """Which share of the catalogue has been shown, by tenant and ranker version, since this process started."""

    def __init__(self, catalogues: Catalogues, indexes: Indexes) -> None:
        self._catalogues = catalogues
        self._indexes = indexes
        self._shown: dict[tuple[str, str], set[str]] = {}
        _meter.create_observable_gauge(
            "casebook.recommender.coverage", callbacks=[self._observe_coverage], description=Coverage.__doc__ or ""
        )
        _meter.create_observable_gauge(
            "casebook.recommender.index.age",
            unit="s",
            callbacks=[self._observe_index_age],
            description="Since the index was built, by tower version.",
        )
        _meter.create_observable_gauge(
            "casebook.recommender.index.items",
            callbacks=[self._observe_index_items],
            description="Items in the index, by tower version.",
        )

    def record(self, answer: Recommendation) -> None:
        """Counts one answer."""
        ranked, query, arm = answer.ranked, answer.ranked.candidates.query, answer.arm.name
        shown = self._shown.setdefault((answer.asked.tenant, ranked.version), set())
        for item in answer.items:
            shown.add(item.item.facts.item_id)
            if ranked.version:
                _scores.record(item.score, {"model": "din", "version": ranked.version})
        for stage in answer.stages:
            _stage.record(stage.milliseconds / 1000.0, {"stage": stage.name})
        for hits in ranked.candidates.hits:
            _candidates.add(len(hits.found.rows), {"channel": hits.channel.name.lower()})
        for text in answer.degraded:
            _degraded.add(1, {"stage": text.partition(" ")[0].rstrip(":")})
        if answer.feature_age_seconds >= 0:
            _feature_age.record(answer.feature_age_seconds)
        degraded = "true" if answer.degraded else "false"
        versions = {"user_tower": query.user_tower, "ranker": ranked.version}
        _served.add(1, {"arm": arm, "degraded": degraded, **versions})
        explored = sum(item.exploration for item in answer.items)
        _shown.add(explored, {"arm": arm, "exploration": "true"})
        _shown.add(len(answer.items) - explored, {"arm": arm, "exploration": "false"})

    def _observe_coverage(self, _options: CallbackOptions) -> Iterable[Observation]:
        for (tenant, version), shown in list(self._shown.items()):
            items = max(1, len(self._catalogues.of(tenant)))
            yield Observation(len(shown) / items, {"tenant": tenant, "model": "din", "version": version})

    def _observe_index_age(self, _options: CallbackOptions) -> Iterable[Observation]:
        for index in self._indexes.all():
            labels = {"tenant": index.tenant, "model": "dssm_item", "version": index.version}
            yield Observation(index.age_seconds, labels)

    def _observe_index_items(self, _options: CallbackOptions) -> Iterable[Observation]:
        for index in self._indexes.all():
            labels = {"tenant": index.tenant, "model": "dssm_item", "version": index.version}
            yield Observation(len(index), labels)
