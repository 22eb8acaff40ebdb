"""What a text is written in, and what is searched of it by words.

Chinese is searched by characters and pairs of neighbouring ones, which needs no word segmenter and measured better than
one; English by lower-cased words as they are written.
"""

import re
import unicodedata
from dataclasses import dataclass

from support.knowledge import LANGUAGES, Language

LONGEST = 8_000
"""Characters that are looked at, of a question or a phrasing. The service lets in fewer; of a document it is a few
pages."""
MIXED_FROM, MIXED_TO = 0.2, 0.8
"""A question whose share of Chinese lies between is asked in both languages: "我的 credit card 被吞了" is .71."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_WORD = re.compile(r"[a-z\u00c0-\u024f]+", re.IGNORECASE)
_CHINESE_PIECE = re.compile(f"[{_HAN}]+|[^\\W_{_HAN}]+")
_ENGLISH_PIECE = re.compile(f"[{_HAN}]|[^\\W_{_HAN}]+(?:'[^\\W\\d_{_HAN}]+)?")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u00b4": "'", "`": "'"})


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it is searched."""

    text: str
    """Normalised; empty where nothing is left."""
    language: Language
    mixed: bool
    """Written in both languages, so asked in both."""

    @property
    def says_something(self) -> bool:
        """Whether there is a letter or a digit in it: emoji and punctuation ask nothing."""
        return any(character.isalnum() for character in self.text)


def read(text: str, language: Language) -> Question:
    """The question as it is searched, in the language that it was said or found to be in."""
    text = normalised(text)
    return Question(text, language, MIXED_FROM < chinese_share(text) < MIXED_TO)


def normalised(text: str) -> str:
    """Unicode's compatibility form (full-width letters and digits become plain ones), in one line, at most `LONGEST`.

    Control characters separate; what has no width at all (direction marks, joiners, soft hyphens) goes. Capitals stay:
    an encoder may tell them apart.
    """
    # A text can grow eighteenfold by its compatibility form: cut before and after.
    text = unicodedata.normalize("NFKC", text[:LONGEST].translate(_APOSTROPHES))[:LONGEST]
    if not text.isascii() or not text.isprintable():
        text = "".join(_kept(character) for character in text)
    return " ".join(text.split())


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category in ("Cf", "Cs", "Co", "Cn") else character


def chinese_share(text: str) -> float:
    """Han characters among Han characters and words of Latin letters; 0 where there are neither."""
    han = len(_HAN_CHARACTER.findall(text))
    return han / (han + len(_WORD.findall(text))) if han else 0.0


def detect(text: str) -> Language:
    """The language of a text: Chinese where at least half of it is; English where it is anything else."""
    return "zh" if chinese_share(normalised(text)) >= 0.5 else "en"


def other(language: Language) -> Language:
    """The other language."""
    return LANGUAGES[1 - LANGUAGES.index(language)]


def tokens(text: str, language: Language) -> list[str]:
    """What is searched of a normalised text, lower-cased, in order, repetitions kept; empty for emoji and punctuation.

    Words that a Chinese text has in Latin letters stay words; Chinese within an English text counts by character.
    """
    text = text.lower()
    if language == "en":
        return [piece.replace("'", "") for piece in _ENGLISH_PIECE.findall(text)]
    found: list[str] = []
    for piece in _CHINESE_PIECE.findall(text):
        if _HAN_CHARACTER.match(piece):
            found.extend(piece)
            found.extend(piece[start : start + 2] for start in range(len(piece) - 1))
        else:
            found.append(piece)
    return found
