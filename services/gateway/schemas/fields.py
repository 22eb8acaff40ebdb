"""What the fields of every request share, and the two kinds of body."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from starlette.convertors import PathConvertor, register_url_convertor

NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]+$"
UUID7 = r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"

Id = Annotated[
    str,
    Field(min_length=1, max_length=128, pattern=NO_CONTROL_CHARACTERS, description="Opaque; no control characters."),
]


class IdConvertor(PathConvertor):
    """An `Id` in a path, written `{item_id:id}`: it may hold slashes, and what it may not hold is refused by name.

    Starlette's own `path` ends at a line feed, so that an id with one would be a page that does not exist.
    """

    regex = r"[\s\S]*"


register_url_convertor("id", IdConvertor())

Label = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_CONTROL_CHARACTERS)]
Uuid7 = Annotated[str, Field(pattern=UUID7, description="A UUIDv7 (RFC 9562) in lower case.")]
Reason = Annotated[str, Field(max_length=500, description="Why, for the record.")]

EXAMPLE_UUID = "0192f5c4-6d1e-7cc2-b1f4-3a1f0c9d2e77"


class Request(BaseModel):
    """What a client sends: a field that is not known here is a mistake, and said to be one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
