"""Checks of a request's fields that servicers share. Each raises InvalidField, naming the field and its limit."""

from collections.abc import Sized

from chassis.errors import InvalidField

MAX_ID_CHARACTERS = 128
"""Users, items, articles: ids are opaque strings."""


def check_id(field: str, value: str) -> None:
    """An id that must be there."""
    check_text(field, value, MAX_ID_CHARACTERS)


def check_text(field: str, value: str, most: int, *, least: int = 1) -> None:
    """From `least` to `most` characters."""
    if least <= len(value) <= most and "\x00" not in value:
        return
    length = f"{least} to {most}" if least else f"at most {most}"
    raise InvalidField(field, f"{length} characters, none of them NUL", value)


def check_count(field: str, values: Sized, most: int, *, least: int = 0) -> None:
    """From `least` to `most` of them."""
    if not least <= len(values) <= most:
        raise InvalidField(field, f"{least} to {most}" if least else f"at most {most}", len(values))


def page_size(field: str, value: int, default: int, most: int) -> int:
    """How many are asked for: 1 to `most`, and `default` for 0."""
    if not 0 <= value <= most:
        raise InvalidField(field, f"1 to {most}, or 0 for {default}", value)
    return value or default
