"""The rows of the training sink: feedback, and hand-offs.

Columns are added, never renamed or dropped. A file keeps those of its day, and a data set takes its columns from its
first file: read with `pyarrow.dataset.dataset(folder, schema=TABLES[topic].schema)`, and a later column is null before.
The turns of a hand-off are those that led to it. What a person said in it stays in PostgreSQL.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import pyarrow as pa

from casebook.support.v1 import desk_pb2, events_pb2, support_pb2
from chassis.sink import Table
from support.desk_store import HANDOFF_TOPIC
from support.feedback_store import FEEDBACK_TOPIC

_TIME = pa.timestamp("us", tz="UTC")
_FEEDBACK = (
    pa.field("conversation_id", pa.string()),
    pa.field("turn_id", pa.string()),
    pa.field("knowledge_base", pa.string()),
    pa.field("language", pa.string()),
    pa.field("question", pa.string()),
    pa.field("context", pa.string()),
    pa.field("outcome", pa.string()),
    pa.field("answered_article_id", pa.string()),
    pa.field("source", pa.string()),
    pa.field("correct_article_id", pa.string()),
    pa.field("in_scope", pa.bool_()),
    pa.field("comment", pa.string()),
    pa.field("confidence", pa.float32()),
    pa.field("encoders", pa.list_(pa.string())),
    pa.field("index", pa.int64()),
    pa.field("reranker", pa.string()),
    pa.field("calibration", pa.string()),
    pa.field("given_at", _TIME),
)
_TURN = pa.struct(
    [
        pa.field("turn_id", pa.string()),
        pa.field("speaker", pa.string()),
        pa.field("text", pa.string()),
        pa.field("at", _TIME),
        pa.field("outcome", pa.string()),
        pa.field("article_id", pa.string()),
    ]
)
_HANDOFF = (
    pa.field("handoff_id", pa.string()),
    pa.field("conversation_id", pa.string()),
    pa.field("knowledge_base", pa.string()),
    pa.field("customer_id", pa.string()),
    pa.field("state", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("language", pa.string()),
    pa.field("question", pa.string()),
    pa.field("turns", pa.list_(_TURN)),
    pa.field("tried_article_ids", pa.list_(pa.string())),
    pa.field("claimed_by", pa.string()),
    pa.field("resolution", pa.string()),
    pa.field("requested_at", _TIME),
    pa.field("resolved_at", _TIME),
    pa.field("revision", pa.int64()),
)


def _feedback_row(message: events_pb2.FeedbackGiven) -> dict[str, Any]:
    return {
        "conversation_id": message.conversation_id,
        "turn_id": message.turn_id,
        "knowledge_base": message.knowledge_base,
        "language": message.language,
        "question": message.question,
        "context": message.context,
        "outcome": _name(support_pb2.Outcome, message.outcome, "OUTCOME_"),
        "answered_article_id": message.answered_article_id,
        "source": _name(events_pb2.FeedbackSource, message.source, "FEEDBACK_SOURCE_"),
        "correct_article_id": message.correct_article_id,
        "in_scope": message.in_scope,
        "comment": message.comment,
        "confidence": message.confidence,
        "encoders": list(message.versions.encoders),
        "index": message.versions.index,
        "reranker": message.versions.reranker,
        "calibration": message.versions.calibration,
        "given_at": message.given_at.ToDatetime(UTC),
    }


def _handoff_row(message: events_pb2.HandoffChanged) -> dict[str, Any]:
    handoff, summary = message.handoff, message.handoff.summary
    return {
        "handoff_id": handoff.handoff_id,
        "conversation_id": handoff.conversation_id,
        "knowledge_base": handoff.knowledge_base,
        "customer_id": handoff.customer_id,
        "state": _name(desk_pb2.HandoffState, handoff.state, "HANDOFF_STATE_"),
        "reason": _name(desk_pb2.HandoffReason, handoff.reason, "HANDOFF_REASON_"),
        "language": summary.language,
        "question": summary.question,
        "turns": [
            {
                "turn_id": turn.turn_id,
                "speaker": _name(desk_pb2.Speaker, turn.speaker, "SPEAKER_"),
                "text": turn.text,
                "at": turn.at.ToDatetime(UTC),
                "outcome": turn.outcome,
                "article_id": turn.article_id,
            }
            for turn in summary.turns
        ],
        "tried_article_ids": list(summary.tried_article_ids),
        "claimed_by": handoff.claimed_by,
        "resolution": handoff.resolution,
        "requested_at": handoff.requested_at.ToDatetime(UTC),
        "resolved_at": handoff.resolved_at.ToDatetime(UTC) if handoff.HasField("resolved_at") else None,
        "revision": handoff.revision,
    }


def _name(enumeration: Any, value: int, prefix: str) -> str:
    """In lower case, without its prefix. Raises ValueError for a value that this version does not know."""
    name: str = enumeration.Name(value)
    return name.removeprefix(prefix).lower()


TABLES: Mapping[str, Table] = {
    FEEDBACK_TOPIC: Table(events_pb2.FeedbackGiven, _FEEDBACK, _feedback_row),
    HANDOFF_TOPIC: Table(events_pb2.HandoffChanged, _HANDOFF, _handoff_row),
}
