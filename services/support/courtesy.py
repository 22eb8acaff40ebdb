"""Is it a greeting, thanks or a good-bye, and nothing else? Then there is nothing to search, and nothing has failed.

Patterns, as for the wish for a person (person.py): what stands beside a question is left to the search.
"""

import re
from enum import StrEnum

from support.language import normalised

LONGEST_CHARACTERS = 60
"""Who writes more says more."""


class Courtesy(StrEnum):
    """What is said."""

    GREETING = "greeting"
    THANKS = "thanks"
    FAREWELL = "farewell"


_PATTERNS = {
    Courtesy.FAREWELL: (
        r"\b(?:(?:good\s*)?bye+(?:[\s-]*bye+)?|see\s+(?:you|ya)(?:\s+(?:later|soon|around))?|cya|farewell|good\s+night"
        r"|have\s+a\s+(?:nice|good|great|lovely)\s+(?:day|evening|weekend|one))\b"
        r"|再[见見]|拜+|回[头頭][见見]|下次[见見]|晚安"
    ),
    Courtesy.THANKS: (
        r"\b(?:thanks|thank\s+(?:you|u)|thx|thanx|tks|ty|cheers|much\s+appreciated|(?:i\s+)?appreciate\s+it)\b"
        r"|多?[谢謝]+|感[谢謝激]|辛苦|麻[烦煩][你您]"
    ),
    Courtesy.GREETING: (
        r"\b(?:hi+|hiya|hello+|hey+|howdy|greetings|good\s+(?:morning|afternoon|evening|day)"
        r"|how\s+are\s+you(?:\s+doing)?)\b"
        r"|[你您妳]们?好|大家好|哈[喽啰囉]|嗨|(?:早上|上午|中午|下午|晚上)好|早安|午安|在吗|在嘛|在不在"
    ),
}
_PHRASE = re.compile("|".join(f"(?P<{kind.name}>{pattern})" for kind, pattern in _PATTERNS.items()))
_BESIDE = re.compile(
    r"\b(?:there|all|everyone|everybody|team|bot|dear|so|very|much|many|a|lot|lots|ok(?:ay)?|great|perfect|good|nice|cool"
    r"|for|your|the|you|help(?:ing|ful)?|assistance|answers?|reply|response|time|trying|million|ever|really|well|no|and|again"
    r"|now|then|this|that(?:'?s)?|was|it|is|today|too|ai)\b"
    r"|[啊呀呐哦噢哈呢吧啦了嘛吗的哟嗯亲你您们我也都太很]|非常|十分|好|明白|知道|没事|没有|不用|[\W_]"
)


def courtesy(text: str) -> Courtesy | None:
    """What is said last of these, in English or Chinese; None where anything else is said."""
    said = normalised(text).casefold()
    if len(said) > LONGEST_CHARACTERS or _BESIDE.sub("", _PHRASE.sub(" ", said)):
        return None
    kinds = [match.lastgroup for match in _PHRASE.finditer(said)]
    return Courtesy[kinds[-1] or ""] if kinds else None
