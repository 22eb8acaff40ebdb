"""Does a question lean on the one before it? Then it is retrieved a second time, with that one in front of it.

A wrong yes costs one more retrieval: the raw question keeps two fifths of the vote at least (decision.combine). A wrong
no leaves the raw question alone. So this says yes easily.
"""

import re
import unicodedata

FEW_WORDS = 4
FEW_CHARACTERS = 7
"""Of Chinese: "要收手续费吗" is six."""
WORDS_WITH_PRONOUN = 12

_OPENS_EN = re.compile(
    r"\W*(?:and|also|but|or|so|then|what if|what about|how about|what then|in that case|same|does that|is that"
    r"|will that|if so|if not|otherwise|even|still|again|only)\b"
)
_POINTS_BACK_EN = re.compile(r"\b(?:it|its|this|that|these|those|them|they|there|one|ones|then|instead|too|else)\b")
_OPENS_ZH = re.compile(
    r"\W*(?:那|还有|另外|然后|接着|如果|要是|万一|这个|这种|这样|这|它|他们?|之后|以后|同样|而且|但是?|可是|所以|再)"
)
_CLOSES_ZH = re.compile(r"(?:呢|也一样|也可以|也行|也要|也会)(?:吗|么|嘛)?\W*$")
_HAN = re.compile(r"[㐀-鿿]")
_WORD = re.compile(r"[^\W\d_]+(?:'\w+)?|\d+")


def is_follow_up(question: str) -> bool:
    """Whether the question looks as if it could be one, in English or Chinese."""
    text = unicodedata.normalize("NFKC", question).casefold().replace("’", "'")
    characters = len(_HAN.findall(text))
    if characters:
        return characters <= FEW_CHARACTERS or bool(_OPENS_ZH.match(text) or _CLOSES_ZH.search(text))
    words = len(_WORD.findall(text))
    points_back = words <= WORDS_WITH_PRONOUN and _POINTS_BACK_EN.search(text)
    return words <= FEW_WORDS or bool(_OPENS_EN.match(text) or points_back)
