"""Which of the candidates that were asked back a customer means who types instead of picking: "2", "第一个", "none"."""

import re
from collections.abc import Sequence

from support.language import normalised

NONE = "none"

_NUMBER = re.compile(r"(?:no\.? ?|number |option |第|选)?([1-4一二三四])(?:个|号|项)?[.)。]?")
_ORDINALS = {"first": 1, "the first": 1, "the first one": 1, "second": 2, "the second": 2, "the second one": 2}
_ORDINALS |= {"third": 3, "the third": 3, "the third one": 3, "the last one": -1, "最后一个": -1}
_NONE = re.compile(
    r"(?:no,? )?(?:none|neither)(?: of (?:these|those|them))?|no|nope|no thanks|not (?:these|those)"
    r"|(?:以上)?都?不[是对]|都没有|没有|以上都没有|一个都不是|没有一个(?:是|对)?"
)


def chosen(text: str, titles: Sequence[str]) -> int | str | None:
    """The place of the candidate that is meant, from 0; NONE; or None where the text is something else.

    `titles` are those that were shown, in order; the number after the last one stands for none of them.
    """
    said = _plain(text)
    if _NONE.fullmatch(said):
        return NONE
    for place, title in enumerate(titles):
        if said == _plain(title):
            return place
    number = _number(said)
    if number is None:
        return None
    place = len(titles) - 1 if number == -1 else number - 1
    if place == len(titles):
        return NONE
    return place if place < len(titles) else None


def _plain(text: str) -> str:
    return normalised(text).casefold().rstrip(".!。！")


def _number(said: str) -> int | None:
    if said in _ORDINALS:
        return _ORDINALS[said]
    match = _NUMBER.fullmatch(said)
    if match is None:
        return None
    digit = match.group(1)
    return int(digit) if digit.isdigit() else "一二三四".index(digit) + 1
