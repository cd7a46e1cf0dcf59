"""What each kind of command may be told, checked before anything is stored. Pure: values in, values out."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mdm.commands.kinds import Kind
from mdm.errors import Invalid

_Text = Annotated[str, Field(min_length=1, max_length=400)]
_Phone = Annotated[str, Field(min_length=3, max_length=32, pattern=r"^[+0-9][0-9 ()-]+$")]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Nothing(_Arguments):
    """The kind takes no arguments."""


class LostMode(_Arguments):
    """What a lost tablet shows; at least one of the two (Apple, EnableLostMode)."""

    message: _Text | None = None
    phone_number: _Phone | None = None
    footnote: _Text | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.message is None and self.phone_number is None:
            raise ValueError("give a message, a phone_number, or both")
        return self


class LockScreen(_Arguments):
    """What the lock screen shows."""

    message: _Text | None = None
    phone_number: _Phone | None = None


class Wipe(_Arguments):
    """How to erase. Without its data plan a tablet that has only LTE cannot be reached again."""

    preserve_data_plan: bool = True


_MODELS: dict[Kind, type[_Arguments]] = {
    Kind.LOST_MODE_ON: LostMode,
    Kind.LOCK_SCREEN: LockScreen,
    Kind.WIPE: Wipe,
}


def check_arguments(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as they are stored, with defaults; `Invalid` with pointers below `/arguments`."""
    try:
        return _MODELS.get(kind, Nothing).model_validate(dict(given)).model_dump(exclude_none=True)
    except ValidationError as error:
        errors = [
            {"pointer": "/".join(["/arguments", *map(str, each["loc"])]), "detail": each["msg"]}
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise Invalid(f"the arguments of {kind.value} are wrong", errors=errors) from None
