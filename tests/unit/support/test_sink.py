"""The rows of support's training sink: what an event says has a column, and older files are read beside newer ones."""

import pyarrow as pa
import pyarrow.dataset as files
import pyarrow.parquet as pq
import pytest

from casebook.support.v1 import desk_pb2, events_pb2, support_pb2
from support.desk_store import HANDOFF_TOPIC
from support.feedback_store import FEEDBACK_TOPIC
from support.sink import TABLES

FEEDBACK, HANDOFFS = TABLES[FEEDBACK_TOPIC], TABLES[HANDOFF_TOPIC]
LEFT_OUT = {"lease_until", "position", "top_candidates"}
"""Of a hand-off: its place in the queue of the moment, and what the bot would have suggested at that moment."""


def fields(message) -> set[str]:
    return {each.name for each in message.DESCRIPTOR.fields}


def columns(table) -> set[str]:
    return {each.name for each in table.fields}


def feedback(**fields: object) -> events_pb2.FeedbackGiven:
    known = {"outcome": support_pb2.OUTCOME_ANSWER, "source": events_pb2.FEEDBACK_SOURCE_CUSTOMER_HELPFUL}
    return events_pb2.FeedbackGiven(question="And abroad?", **(known | fields))


def test_feedback_has_a_column_for_everything_that_its_event_says():
    said = fields(events_pb2.FeedbackGiven) - {"versions"} | fields(support_pb2.Versions)

    assert columns(FEEDBACK) == said
    assert FEEDBACK.row(feedback()).keys() == said


def test_a_hand_off_has_a_column_for_everything_that_outlives_its_moment():
    said = (fields(desk_pb2.Handoff) - {"summary"} | fields(desk_pb2.Summary)) - LEFT_OUT

    assert columns(HANDOFFS) == said
    assert {each.name for each in HANDOFFS.schema.field("turns").type.value_type} == fields(desk_pb2.Turn)


def test_files_of_before_a_column_are_read_beside_those_of_after(tmp_path):
    schema = FEEDBACK.schema
    before = schema.remove(schema.get_field_index("context"))
    for number, known in enumerate((before, schema)):
        row = FEEDBACK.row(feedback(context="How do I pay abroad?")) | {"event_id": f"e{number}", "tenant": "bank"}
        pq.write_table(pa.Table.from_pylist([row], known), tmp_path / f"{number}.parquet")

    read = files.dataset(tmp_path, schema=schema).to_table()

    assert read["context"].to_pylist() == [None, "How do I pay abroad?"]


@pytest.mark.parametrize("unknown", ["outcome", "source"])
def test_a_value_that_this_version_does_not_know_is_no_row(unknown):
    with pytest.raises(ValueError, match="99"):
        FEEDBACK.row(feedback(**{unknown: 99}))
