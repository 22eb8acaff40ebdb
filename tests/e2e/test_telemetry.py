"""What operators see of the running system: one table of spans, one of metrics, the dashboards' queries, the logs."""

import re
from pathlib import Path

import pytest
import yaml

from cli import traces
from tests.e2e.customers import ARTICLE, CONVERSATIONS, QUESTIONS, asking, turn
from tests.e2e.visitors import visiting
from tests.fixtures.system import until

INFRA = Path(__file__).parents[2] / "infra"

# Each request, and the spans of its trace: who, what, and below whom. `⇒` is a link, from the span that published an
# event to the one that processes it; it is the parent as well (chassis/events/tracing.py). The gap: the sink writes
# files of many events, and has no span for one.
RECOMMEND = "casebook.recommender.v1.RecommenderService"
RELEASES = "casebook.releases.v1.ReleaseService"
SUPPORT = "casebook.support.v1.SupportService"
KNOWLEDGE = "casebook.support.v1.KnowledgeService"
INFER = "inference.GRPCInferenceService/ModelInfer"
REQUESTS = {
    "a recommendation": ("POST", "/v1/recommendations", {"user_id": "196", "limit": 5}),
    "a click": ("POST", "/v1/events", {"user_id": "196", "item_id": "50", "action": "click"}),
    "an item": ("PUT", "/v1/items/telemetry", {"title": "The Span", "categories": ["Drama"], "year": 2020}),
    "models": ("GET", "/v1/models/din", None),
    "a question": ("POST", CONVERSATIONS, turn(question=QUESTIONS[0])),
    "a wish for a person": ("POST", CONVERSATIONS, turn(wants_person=True)),
    "an article": ("PUT", "/v1/support/knowledge/bank/articles/telemetry", ARTICLE),
}
EDGES = [
    ("a recommendation", "gateway serve POST /v1/recommendations", "→", f"gateway serve {RECOMMEND}/Recommend"),
    ("a recommendation", f"gateway serve {RECOMMEND}/Recommend", "→", f"recommender serve {RECOMMEND}/Recommend"),
    ("a recommendation", f"recommender serve {RECOMMEND}/Recommend", "→", f"recommender serve {INFER}"),
    ("a recommendation", f"recommender serve {INFER}", "→", f"inference serve {INFER}"),
    (
        "a recommendation",
        f"recommender serve {RECOMMEND}/Recommend",
        "→",
        "recommender serve send recommendation.served.v1",
    ),
    ("a click", "gateway serve POST /v1/events", "→", "gateway serve send behaviour.events.v1"),
    ("a click", "gateway serve send behaviour.events.v1", "⇒", "recommender consume process behaviour.events.v1"),
    ("an item", "gateway serve PUT /v1/items/{item_id}", "→", f"gateway serve {RECOMMEND}/UpsertItem"),
    ("an item", f"gateway serve {RECOMMEND}/UpsertItem", "→", f"recommender serve {RECOMMEND}/UpsertItem"),
    ("an item", f"recommender serve {RECOMMEND}/UpsertItem", "→", "recommender relay send catalogue.items.v1"),
    ("an item", "recommender relay send catalogue.items.v1", "⇒", "recommender serve process catalogue.items.v1"),
    ("models", f"gateway serve {RELEASES}/GetModel", "→", f"inference serve {RELEASES}/GetModel"),
    ("a question", f"gateway serve POST {CONVERSATIONS}", "→", f"gateway serve {SUPPORT}/Ask"),
    ("a question", f"gateway serve {SUPPORT}/Ask", "→", f"support serve {SUPPORT}/Ask"),
    ("a question", f"support serve {SUPPORT}/Ask", "→", f"support serve {INFER}"),
    ("a question", f"support serve {INFER}", "→", f"inference serve {INFER}"),
    ("a wish for a person", f"support serve {SUPPORT}/Ask", "→", "support relay send support.handoffs.v1"),
    ("a verdict", f"gateway serve {SUPPORT}/GiveFeedback", "→", f"support serve {SUPPORT}/GiveFeedback"),
    ("a verdict", f"support serve {SUPPORT}/GiveFeedback", "→", "support relay send support.feedback.v1"),
    ("a verdict", "support relay send support.feedback.v1", "⇒", "support consume process support.feedback.v1"),
    ("an article", f"gateway serve {KNOWLEDGE}/PutArticle", "→", f"support serve {KNOWLEDGE}/PutArticle"),
    ("an article", f"support serve {KNOWLEDGE}/PutArticle", "→", "support relay send support.knowledge.v1"),
    ("an article", "support relay send support.knowledge.v1", "⇒", "support serve process support.knowledge.v1"),
]

# Which process tells what: one signal each for rate, faults and duration of what it does, and what is its own.
SIGNALS = [
    ("gateway serve", "http_server_request_duration_seconds_count"),
    ("gateway serve", "casebook_rpc_client_duration_seconds_count"),
    ("gateway serve", "casebook_event_publish_duration_seconds_count"),
    ("recommender serve", "casebook_rpc_server_duration_seconds_count"),
    ("recommender serve", "casebook_recommender_stage_duration_seconds_count"),
    ("recommender serve", "casebook_event_publish_duration_seconds_count"),
    ("recommender consume", "casebook_event_process_duration_seconds_count"),
    ("recommender consume", "casebook_consumer_lag"),
    ("recommender relay", "casebook_event_publish_duration_seconds_count"),
    ("recommender relay", "casebook_outbox_oldest_seconds"),
    ("recommender sink", "casebook_consumer_lag"),
    ("recommender sink", "casebook_sink_events_total"),
    ("support serve", "casebook_rpc_server_duration_seconds_count"),
    ("support serve", "casebook_rpc_client_duration_seconds_count"),
    ("support serve", "casebook_support_outcomes_total"),
    ("support serve", "casebook_support_stage_duration_seconds_count"),
    ("support serve", "casebook_consumer_lag"),
    ("support timers", "casebook_support_queue_waiting"),
    ("support relay", "casebook_event_publish_duration_seconds_count"),
    ("support relay", "casebook_outbox_oldest_seconds"),
    ("support consume", "casebook_event_process_duration_seconds_count"),
    ("support consume", "casebook_support_labels_total"),
    ("support sink", "casebook_consumer_lag"),
    ("support sink", "casebook_sink_events_total"),
    ("inference serve", "casebook_rpc_server_duration_seconds_count"),
    ("inference serve", "casebook_inference_duration_seconds_count"),
]

ONLY_WHEN_WRONG = {
    "casebook_event_dead_letters_total",
    "casebook_fault_ordered",
    "casebook_inference_failures_total",
    "casebook_recommender_degraded_total",
    "casebook_support_degraded_total",
}
"""What is not there before something goes wrong; test_faults.py and the consumers' own tests make it go wrong."""


def spans_of(trace: traces.Trace) -> dict[str, str]:
    """Each span's name as the tables have it, by id."""
    return {span.span_id: f"{span.service} {span.process} {span.name}" for span in trace.spans}


def edges_of(trace: traces.Trace) -> set[tuple[str, str, str]]:
    """Every edge of the trace, as the table has it."""
    names = spans_of(trace)
    found = {(names[span.parent_id], "→", names[span.span_id]) for span in trace.spans if span.parent_id in names}
    links = [(link, span.span_id) for span in trace.spans for link in span.links if link in names]
    return found | {(names[above], "⇒", names[below]) for above, below in links}


@pytest.fixture(scope="module")
def asked(walk_of_module):
    """The trace's id of each request of the table."""
    answers = {what: walk_of_module.call(*request) for what, request in REQUESTS.items()}
    question = answers["a question"]
    verdict = {"turn_id": question["turn_id"], "verdict": "helpful"}
    path = f"{CONVERSATIONS}/{question['conversation_id']}/feedback"
    answers["a verdict"] = walk_of_module.call("POST", path, verdict)
    return {what: answer["_trace_id"] for what, answer in answers.items()}


@pytest.fixture(scope="module")
def visited(prometheus, walk_of_module):
    """Visitors and customers, for as long as the module's tests run."""
    with visiting(walk_of_module), asking(walk_of_module):
        yield prometheus


@pytest.mark.parametrize(("request_", "above", "arrow", "below"), EDGES, ids=[f"{e[0]}: {e[3]}" for e in EDGES])
def test_the_trace_of_a_request_has_the_edge(system, asked, request_, above, arrow, below):
    def seen():
        trace = traces.find(asked[request_], system.home.folder("traces"))
        assert trace is not None
        assert (above, arrow, below) in edges_of(trace), sorted(edges_of(trace))
        return True

    until(f"{above} {arrow} {below}", seen, 20)


@pytest.mark.parametrize(("request_", "service"), [("a recommendation", "recommender"), ("a question", "support")])
def test_one_request_is_found_in_the_logs_of_every_service(system, asked, request_, service):
    def seen():
        printed = system.casebook("logs", "--trace", asked[request_])
        assert all(f"{each} serve" in printed for each in ("gateway", service, "inference")), printed
        return True

    until("the log lines of one trace", seen, 20)


@pytest.mark.parametrize(("process", "metric"), SIGNALS, ids=[f"{p}: {m}" for p, m in SIGNALS])
def test_every_process_gives_its_signals(visited, process, metric):
    service, _, name = process.partition(" ")
    until(f"{metric} of {process}", lambda: visited.query(f'{metric}{{service="{service}",process="{name}"}}'), 30)


def expressions(files, queries):
    return sorted({query for file in files for query in queries(yaml.safe_load(file.read_text()))})


def of_dashboard(board):
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def of_rules(groups):
    return [rule["expr"] for group in groups["groups"] for rule in group["rules"]]


DASHBOARDS = expressions((INFRA / "grafana" / "dashboards").glob("*.json"), of_dashboard)
RULES = expressions((INFRA / "prometheus" / "rules").glob("*.yaml"), of_rules)


def test_every_query_of_every_dashboard_returns_data(visited):
    waiting = set(DASHBOARDS)

    def none_waits():
        for query in sorted(waiting):
            if visited.query(query.replace("$service", ".*").replace("$__rate_interval", "1m")):
                waiting.discard(query)
        assert not waiting, f"no data for {sorted(waiting)}"
        return True

    assert len(DASHBOARDS) > 40
    until("data for every query", none_waits, 45)


def test_every_metric_of_a_dashboard_or_an_alert_is_there_and_moves(visited):
    named = {
        name for query in DASHBOARDS + RULES for name in re.findall(r"\b(?:casebook|http_server|process)_\w+", query)
    }
    counted = {name for name in named if re.search(r"_(total|count|sum|bucket)$", name)}
    counted -= ONLY_WHEN_WRONG | {"casebook_inference_loads_total"}  # that one moves when a release does

    def all_moved():
        still = {name for name in counted if not visited.query(f"max(rate({name}[1m])) > 0")}
        assert not still, f"these do not move: {sorted(still)}"
        return True

    assert named - ONLY_WHEN_WRONG <= visited.names()
    until("every counter to move", all_moved, 45)
