"""A wrong setting stops the process with a line that names it."""

import pytest

from chassis.settings import load
from recommender.settings import RecommenderSettings


def test_structured_settings_are_json(monkeypatch):
    monkeypatch.setenv("CASEBOOK_QUOTAS", '{"candidates": 200, "popular": 10}')
    monkeypatch.setenv(
        "CASEBOOK_EXPERIMENT",
        '{"name": "diversity", "arms": [{"name": "control", "share": 0.5},'
        ' {"name": "varied", "share": 0.5, "changes": {"relevance": 0.6}}]}',
    )

    settings = load(RecommenderSettings)

    assert (settings.quotas.candidates, settings.quotas.item_to_item) == (200, 80)
    assert settings.experiment.arms[1].applied_to(settings.policy).relevance == 0.6


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("CASEBOOK_EXPERIMENT", '{"arms": [{"name": "a", "share": 0.4}]}', "add up to 1"),
        ("CASEBOOK_EXPERIMENT", '{"arms": [{"name": "a", "share": 1, "changes": {"nonsense": 1}}]}', "arm a"),
        ("CASEBOOK_EXPERIMENT", '{"arms": [{"name": "a", "share": 1, "changes": {"pool": 50.5}}]}', "arm a"),
        ("CASEBOOK_POLICY", '{"relevance": "much"}', "number"),
        ("CASEBOOK_RANKING_DEADLINE_SECONDS", "0", "greater than 0"),
    ],
)
def test_a_wrong_value_is_named_at_the_start(monkeypatch, capsys, variable, value, why):
    monkeypatch.setenv(variable, value)

    with pytest.raises(SystemExit) as stopped:
        load(RecommenderSettings)

    line = capsys.readouterr().err
    assert stopped.value.code == 2
    assert line.startswith(variable)
    assert why in line
