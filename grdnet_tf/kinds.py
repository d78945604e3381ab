"""What kinds of values an option can have, and how a wrong one is said: in one line, with what was expected.

pydantic checks; the words are made from the same declaration. `options` declares the options.
"""
import difflib
from typing import Annotated, Dict, Literal, Tuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from .errors import InputError

LARGEST = 2**31 - 1  # of a whole number, where nothing less is said: what TensorFlow's own counters hold


def _number(value):
    """YAML 1.1 reads 1e-4 as text; Python takes True for 1."""
    if isinstance(value, bool):
        raise ValueError("no number")
    value = float(value) if isinstance(value, str) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _word(value):
    """YAML reads a bare on and off as booleans, and the channels 1 and 3 as numbers."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _rising(pair):
    if pair[0] > pair[1]:
        raise PydanticCustomError("rule", "expected [low, high]")
    return pair


def _odd(value):
    if value % 2 == 0:
        raise PydanticCustomError("rule", "expected an odd number")
    return value


def _some(weights):
    if not any(weights.values()):
        raise PydanticCustomError("rule", "expected at least one weight above 0")
    return weights


def _less_than_side(tile):
    if tile[1] >= tile[0]:
        raise PydanticCustomError("rule", "expected [side, overlap], the overlap less than the side")
    return tile


def whole(low=0, high=LARGEST):
    return Annotated[int, Field(ge=low, le=high), BeforeValidator(_number)]


def number(low=0.0, high=None):
    return Annotated[float, Field(ge=low, le=high), BeforeValidator(_number)]


def share_or_switch():
    """Between 0 and 1; of a file from when it was a switch, false is 0 and true is 1."""
    return Annotated[number(0.0, 1.0), BeforeValidator(lambda x: float(x) if isinstance(x, bool) else x)]


def choice(*words):
    """One of some words."""
    return Annotated[Literal[words], BeforeValidator(_word)]


def one_of(*numbers):
    """One of some whole numbers."""
    return Annotated[Literal[numbers], BeforeValidator(_number)]


def odd(low, high):
    return Annotated[whole(low, high), AfterValidator(_odd)]


def pair(of):
    """[low, high]."""
    return Annotated[Tuple[of, of], AfterValidator(_rising)]


def tile(largest):
    """[side, overlap]."""
    return Annotated[Tuple[whole(1, largest), whole(0, largest)], AfterValidator(_less_than_side)]


def weights(*names):
    """{name: weight}, drawn in proportion."""
    return Annotated[Dict[Literal[names], number()], Field(min_length=1), AfterValidator(_some)]


def option(default, reason):
    """An option's default, and what it does or why it is so: printed in docs/configuration.md."""
    return Field(default, description=reason)


class OptionError(InputError):
    """A value that an option does not take. `key` within its section; `what` is wrong with it, in words."""

    def __init__(self, section, key, what):
        super().__init__(f"{section.__name__}: {key} {what}")
        self.key, self.what = key, what


class Section(BaseModel):
    """A group of options: immutable, checked when it is made. `Noise(threshold=(0.2, 0.6))`, all others by default."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=False)

    def __init__(self, **values):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionError(type(self), *_problem(type(self), values, error.errors()[0])) from None

    def replace(self, **changes):
        """A copy with these options changed, checked as in the constructor."""
        return type(self)(**{**dict(self), **changes})


def _problem(section, values, error):
    """(key, what is wrong with it) of the first of pydantic's errors."""
    key = str(error["loc"][0])
    if key not in section.model_fields:
        return key, f"is no option; the nearest is {difflib.get_close_matches(key, section.model_fields, 1, 0.0)[0]}"
    rule = error["msg"] if error["type"] == "rule" else f"expected {expected(section, key)}"
    return key, f"= {values[key]!r}; {rule}"


def expected(section, key) -> str:
    """What the option takes, in words: "a whole number, at least 1"."""
    return _words(section.model_json_schema()["properties"][key])


def _words(schema):
    if "anyOf" in schema:
        return " or ".join(_words(part) for part in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = schema["type"]
    if kind in ("integer", "number"):
        name = "a whole number" if kind == "integer" else "a number"
        low, high = schema["minimum"], schema.get("maximum", LARGEST)
        return f"{name} between {low} and {high}" if high != LARGEST else f"{name}, at least {low}"
    if kind == "array":
        count = schema.get("maxItems")
        each = schema["prefixItems"][0] if count else schema["items"]
        if each.get("type") == "string":
            return "a list of texts"
        return f"a list of {count or 'one or more'} numbers, each {_words(each)}"
    if kind == "object":
        return "name: weight pairs of " + ", ".join(schema["propertyNames"]["enum"])
    return {"boolean": "true or false", "string": "text", "null": "null"}[kind]
