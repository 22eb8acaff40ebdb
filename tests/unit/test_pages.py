"""The pages' own check: figures of a page in Chinese beside those of the English one."""

import pytest

from infra.check_pages import differing, figures

ENGLISH = """# A bank
Takes 73 s on 2 cores.

## Honest limits

At 5 % it answers 85 % of the questions in English (n = 1,475, ± 0.018).
"""
CHINESE = """# 一家银行
在2核上要73秒。

## 如实说明

接受 5 % 的错误时，英文问题（n = 1,475，± 0.018）直接回答 85 %。
"""


def test_a_translation_with_the_same_figures_is_up_to_date():
    assert list(differing(ENGLISH, CHINESE)) == []


@pytest.mark.parametrize(
    ("was", "stands", "said"),
    [
        ("85 %", "75 %", {"75% is not in the original", "85% of “Honest limits” is missing"}),
        ("73秒", "73 %", {"73% is not in the original", "73 of “the head” is missing"}),
        ("在2核上要", "", {"2 of “the head” is missing"}),
        ("，± 0.018", "", {"0.018 of “Honest limits” is missing"}),
        ("直接", "两次里有 3 次", {"3 is not in the original"}),
        ("## 如实说明", "如实说明", {"has 0 sections, the original 1"}),
    ],
)
def test_a_figure_that_differs_is_named(was, stands, said):
    assert was in CHINESE
    assert set(differing(ENGLISH, CHINESE.replace(was, stands, 1))) == said


def test_a_figure_may_stand_in_another_section_too():
    more = CHINESE.replace("在2核", "接受 5 % 的错误；在2核")

    assert list(differing(ENGLISH, more)) == []


def test_numbers_in_names_are_no_figures():
    text = "HR@10 of banking77 in MovieLens-100K ([ADR](infra/adr/0007-a-risk.md)), `events.v1`: 0.5 %, 8-bit, 3.11"

    assert list(figures(text)) == ["0.5%", "8", "3.11"]
