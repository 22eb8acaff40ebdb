"""What the bot says of its own accord, in both languages. What it knows stands in the articles, never here."""

from collections.abc import Sequence

from support.courtesy import Courtesy
from support.handoff import Handoff, HandoffReason, HandoffState
from support.knowledge import LANGUAGES, Article, Language

NONE_OF_THESE: dict[Language, str] = {"en": "None of these", "zh": "都不是"}
A_PERSON_PLEASE: dict[Language, str] = {"en": "A person, please", "zh": "请转人工"}

_OUT_OF_SCOPE: dict[Language, str] = {
    "en": (
        "I'm sorry, I have no answer to that. You could put it in other words, or tell me that you would like to talk"
        " to a person, and I will fetch one."
    ),
    "zh": "抱歉，这个问题我没有答案。您可以换一种说法再问我，或者告诉我需要人工，我会为您转接。",
}
_NONE_FITS: dict[Language, str] = {
    "en": (
        "I'm sorry, then I have no answer to that. You could put it in other words, or tell me that you would like to"
        " talk to a person, and I will fetch one."
    ),
    "zh": "抱歉，那我没有相应的答案。您可以换一种说法再问我，或者告诉我需要人工，我会为您转接。",
}
_NO_WORDS: dict[Language, str] = {
    "en": "I can only read words. Tell me in a few of them what you would like to know.",
    "zh": "我只能看懂文字，请用几个字告诉我您想了解什么。",
}
_IN_KIND: dict[Courtesy, dict[Language, str]] = {
    Courtesy.GREETING: {"en": "Hello! What would you like to know?", "zh": "您好！请问您想了解什么？"},
    Courtesy.THANKS: {
        "en": "You're welcome. If there is anything else, just ask.",
        "zh": "不客气，还有别的问题可以随时问我。",
    },
    Courtesy.FAREWELL: {
        "en": "Goodbye! If anything else comes up, just write again.",
        "zh": "再见！以后有问题可以随时来问。",
    },
}
_NO_LONGER_THERE: dict[Language, str] = {
    "en": "I'm sorry, that answer is no longer valid, and I have no other. If you would like a person, just say so.",
    "zh": "抱歉，这条答案已经失效，我也没有别的答案。需要的话我可以为您转接人工，请告诉我。",
}
_NOBODY_REACHABLE: dict[Language, str] = {
    "en": (
        "I'm sorry, I have no answer to that, and I cannot reach my colleagues at the moment. Please ask for a person"
        " again in a few minutes."
    ),
    "zh": "抱歉，这个问题我没有答案，目前也暂时联系不上人工。请过几分钟再次要求人工。",
}
_WHICH: dict[Language, str] = {"en": "Which of these do you mean?", "zh": "您想问的是哪一个？"}
_ONLY_IN: dict[tuple[Language, Language], str] = {
    ("zh", "en"): "这条答案只有英文版：",
    ("en", "zh"): "This answer is there in Chinese only:",
}
_FETCHED: dict[HandoffReason, dict[Language, str]] = {
    HandoffReason.ASKED_FOR: {
        "en": "Of course: I have asked a colleague to take over.",
        "zh": "好的，已经为您转接人工。",
    },
    HandoffReason.FAILED_TURNS: {
        "en": "I'm sorry, I can't help you with this. I have asked a colleague to take over.",
        "zh": "抱歉，我没能帮到您，已经为您转接人工。",
    },
    HandoffReason.WRONG_ANSWERS: {
        "en": "I'm sorry that my answers were wrong. I have asked a colleague to take over.",
        "zh": "抱歉，我的回答不对，已经为您转接人工。",
    },
}
_IN_THE_QUEUE: dict[Language, tuple[str, str, str]] = {
    "en": (
        "You are next.",
        "There is one person before you in the queue.",
        "There are {before} people before you in the queue.",
    ),
    "zh": ("您是下一位。", "您前面还有 1 位。", "您前面还有 {before} 位。"),
}
"""With nobody, one, and more people before."""
_WRITE_ON: dict[Language, str] = {
    "en": "Whatever you write here reaches them.",
    "zh": "您可以继续留言，人工会看到。",
}
_PASSED_ON: dict[Language, str] = {
    "en": "I have passed this on to my colleague.",
    "zh": "已转达给人工。",
}


def answer(article: Article, language: Language) -> str:
    """The article's answer, word for word; in the other language, with a line that says so, where it has no other."""
    text = article.in_language(article.answer, language)
    if article.answer.get(language):
        return text
    there = next(each for each in LANGUAGES if article.answer.get(each))
    return f"{_ONLY_IN[language, there]}\n{text}"


def clarify(articles: Sequence[Article], language: Language) -> str:
    """Asks back with the articles' titles, and none of them."""
    titles = [each.in_language(each.title, language) for each in articles] + [NONE_OF_THESE[language]]
    return "\n".join([_WHICH[language], *(f"{number}. {title}" for number, title in enumerate(titles, 1))])


def out_of_scope(language: Language) -> str:
    """The knowledge base does not know."""
    return _OUT_OF_SCOPE[language]


def none_fits(language: Language) -> str:
    """None of the candidates was meant."""
    return _NONE_FITS[language]


def no_words(language: Language) -> str:
    """There is no word in what was said."""
    return _NO_WORDS[language]


def in_kind(said: Courtesy, language: Language) -> str:
    """A greeting is greeted, and so on."""
    return _IN_KIND[said][language]


def no_longer_there(language: Language) -> str:
    """The article that was picked has been retired in the meantime."""
    return _NO_LONGER_THERE[language]


def nobody_reachable(language: Language) -> str:
    """A person is needed, and the desk's database is away."""
    return _NOBODY_REACHABLE[language]


def fetched(handoff: Handoff, language: Language) -> str:
    """A person has been asked for."""
    return _joined(language, _FETCHED[handoff.reason][language], _place(handoff, language), _WRITE_ON[language])


def passed_on(handoff: Handoff, language: Language) -> str:
    """The bot is silent: what the customer said has gone to the person."""
    return _joined(language, _PASSED_ON[language], _place(handoff, language))


def _place(handoff: Handoff, language: Language) -> str:
    if handoff.state is HandoffState.CLAIMED or handoff.position < 1:
        return ""
    before = handoff.position - 1
    return _IN_THE_QUEUE[language][min(before, 2)].format(before=before)


def _joined(language: Language, *sentences: str) -> str:
    return ("" if language == "zh" else " ").join(filter(None, sentences))
