"""`casebook logs`: one trace's lines out of everybody's."""

import json

from cli import log_search

TRACE = "0af7651916cd43dd8448eb211c80319c"


def line(service, time, trace=TRACE, **more):
    return json.dumps(
        {"service": service, "process": "serve", "time": time, "level": "info", "trace_id": trace, **more}
    )


def test_lines_of_one_trace_come_from_every_process_in_the_order_of_time(tmp_path):
    (tmp_path / "gateway-serve.log").write_text(
        line("gateway", "2026-01-01T00:00:03Z", message="answered", status=200)
        + "\n"
        + line("gateway", "x", "f" * 32)
        + "\n"
    )
    (tmp_path / "recommender-serve.log").write_text(
        line("recommender", "2026-01-01T00:00:02Z", message="called") + "\n"
    )

    found = log_search.find(TRACE, tmp_path)

    assert [record["service"] for record in found] == ["recommender", "gateway"]
    assert "gateway serve" in str(log_search.render(found))
    assert "answered status=200" in str(log_search.render(found))


def test_a_line_that_only_speaks_of_the_trace_is_not_of_it():
    lines = [f"FATAL: something of {TRACE}", json.dumps({"message": f"saw {TRACE}"}), line("inference", "t")[:-5]]

    assert log_search.pick(TRACE, lines) == []
