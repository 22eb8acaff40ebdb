"""Checks of what people write: a customer's question, an agent's reply, a comment."""

import unicodedata

from chassis.errors import InvalidField

MAX_QUESTION_CHARACTERS = 2_000
MAX_REPLY_CHARACTERS = 4_000
MAX_COMMENT_CHARACTERS = 1_000


def checked_text(field: str, text: str, most: int, *, least: int = 1) -> str:
    """The text as it is: in any script and direction, with emoji and line breaks; control characters are refused.

    Raises InvalidField.
    """
    if len(text) > most or len(text.strip()) < least:
        raise InvalidField(
            field,
            f"{least} to {most} characters, not of white space alone" if least else f"at most {most} characters",
            text,
        )
    for place, character in enumerate(text):
        if unicodedata.category(character) == "Cc" and character not in "\t\r\n":
            raise InvalidField(field, f"control character U+{ord(character):04X} at character {place + 1}", text)
    return text
