"""The way of a request through the system, as the timers that enclose one another on it.

What a timer shows beyond those inside it is spent in that layer itself. A further case adds its tree here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loadtests.telemetry import Activity


@dataclass(frozen=True, slots=True)
class Timer:
    """A histogram of seconds, and the timers inside of what it measures."""

    layer: str
    """What the time beyond `inside` is spent on."""
    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)
    inside: tuple["Timer", ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """What one timer showed between two looks."""

    name: str
    depth: int
    calls: float
    mean_ms: float
    own_ms: float
    """Without what the timers inside show; never below 0 (they count other callers' calls too)."""
    in_flight: float
    """Calls at a time, on average (Little's law: seconds spent, a second)."""


def _stage(name: str, *inside: Timer) -> Timer:
    return Timer(f"stage {name}", "casebook_recommender_stage_duration_seconds", {"stage": name}, inside)


def _model(name: str) -> Timer:
    model = {"model": name}
    waiting = Timer(f"model server: {name} waits for its batch", "casebook_inference_queue_seconds", model)
    return Timer(f"model server: {name} computes", "casebook_inference_duration_seconds", model, (waiting,))


def _turn(name: str, *inside: Timer) -> Timer:
    return Timer(f"stage {name}", "casebook_support_stage_duration_seconds", {"stage": name}, inside)


_RECOMMEND = {"rpc_service": "casebook.recommender.v1.RecommenderService", "method": "Recommend"}
_ASK = {"rpc_service": "casebook.support.v1.SupportService", "method": "Ask"}
PATHS: dict[str, Timer] = {
    "POST /v1/recommendations": Timer(
        "gateway: edge, JSON, translation",
        "http_server_request_duration_seconds",
        {"http_route": "/v1/recommendations"},
        (
            Timer(
                "gRPC, and the wait for both event loops",
                "casebook_rpc_client_duration_seconds",
                _RECOMMEND,
                (
                    Timer(
                        "recommender: identity, protobuf, metrics",
                        "casebook_rpc_server_duration_seconds",
                        _RECOMMEND,
                        (
                            _stage("live sequence"),
                            _stage("recall", _model("dssm_user")),
                            _stage("features"),
                            _stage("ranking", _model("din")),
                            _stage("re-ranking"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    # Counts the turns of every route: a conversation's first and its later ones are the same call inside.
    "POST /v1/support/conversations": Timer(
        "gateway: edge, JSON, translation",
        "http_server_request_duration_seconds",
        {"http_route": "/v1/support/conversations"},
        (
            Timer(
                "gRPC, and the wait for both event loops",
                "casebook_rpc_client_duration_seconds",
                _ASK,
                (
                    Timer(
                        "support: identity, protobuf, metrics",
                        "casebook_rpc_server_duration_seconds",
                        _ASK,
                        (
                            _turn("conversation"),
                            _turn("encode", _model("encoder_en"), _model("encoder_zh")),
                            _turn("search"),
                            _turn("rerank"),
                            _turn("decision"),
                            _turn("keeping"),
                        ),
                    ),
                ),
            ),
        ),
    ),
}
"""By the endpoint whose way it is."""


def layers(path: Timer, activity: Activity, depth: int = 0) -> Iterator[Layer]:
    """The timers from the outside in; none for a timer that counted no call."""
    calls, seconds = activity.count(path.metric, path.labels), activity.total(path.metric, path.labels)
    if calls <= 0:
        return
    below = [list(layers(timer, activity, depth + 1)) for timer in path.inside]
    mean_ms = seconds / calls * 1000.0
    inside_ms = sum(found[0].mean_ms for found in below if found)
    yield Layer(path.layer, depth, calls, mean_ms, max(0.0, mean_ms - inside_ms), seconds / activity.seconds)
    for found in below:
        yield from found


def unseen(path: Timer, activity: Activity) -> Iterator[Timer]:
    """The timers below one that counted calls which counted none: no process shows them under these names."""
    if activity.count(path.metric, path.labels) <= 0:
        yield path
        return
    for timer in path.inside:
        yield from unseen(timer, activity)
