"""Configuration files: TOML, read strictly, and written out whole with what each value is and why.

The reasons stand beside the fields, as `msgspec.Meta` descriptions; what a value may be is read off its type.
So a file that is written out always has every value there is, and says of each what the program believes.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import NODEFAULT, UNSET, Struct
from msgspec.inspect import (
    BoolType,
    Field,
    FloatType,
    IntType,
    LiteralType,
    Metadata,
    NoneType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from hub.errors import OurError

S = TypeVar("S", bound=Struct)

WIDTH: Final = 100
"""Columns of a comment."""


class ConfigError(OurError):
    """The configuration file cannot be used; the text names the file and the value."""


def read(path: Path, kind: type[S]) -> S:
    """Read a file.

    Raises:
        ConfigError: if it cannot be read, or says something that cannot be.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=kind)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:  # the latter: nested too deep
        raise ConfigError(f"{path}: {error}") from None


def written(values: Struct) -> str:
    """A file that `read` turns into these very values, with every value that may be given.

    Above each stand, as comments, what it is and why it is so by default. What is not given stands there too,
    as an example with a "#" right before it: take that away to give it. Reasons have a space behind theirs.
    """
    return "\n".join(_section(values, ())).lstrip("\n") + "\n"


def _section(values: Struct, path: tuple[str, ...], mark: str = "") -> Iterator[str]:
    """The lines of one section: its own values first, as TOML wants it, then the sections inside."""
    inside: list[tuple[Field, str, tuple[Struct, ...]]] = []
    for field in _fields(type(values)):
        text, examples = _description(field)
        value = getattr(values, field.name)
        if _holds_sections(field.type):
            inside.append((field, text, examples[0] if examples else ()))
            continue
        is_given = value is not None and value is not UNSET
        yield ""
        yield from _comment(text)
        yield from _comment(_may_be(field, value))
        shown = value if is_given else examples[0]
        yield f"{mark if is_given else '#'}{_key(field.encode_name)} = {_toml(shown)}"
    for field, text, example in inside:
        yield from _inside(getattr(values, field.name), (*path, field.encode_name), text, example, mark)


def _inside(
    value: Struct | tuple[Struct, ...],
    path: tuple[str, ...],
    text: str,
    example: tuple[Struct, ...],
    mark: str,
) -> Iterator[str]:
    """A section inside another, or several of the same name; an example where there is none."""
    name = ".".join(path)
    yield ""
    yield from _comment(text)
    if isinstance(value, Struct):
        yield f"{mark}[{name}]"
        yield from _section(value, path, mark)
        return
    for each in value:
        yield f"{mark}[[{name}]]"
        yield from _section(each, path, mark)
    if not value:
        for each in example:
            yield f"#[[{name}]]"
            yield from _section(each, path, "#")


def _fields(kind: type[Struct]) -> tuple[Field, ...]:
    information = type_info(kind)
    assert isinstance(information, StructType), "a section is a struct"
    return information.fields


def _description(field: Field) -> tuple[str, list[Any]]:
    """What its annotation says of a field, and the examples there.

    Raises:
        TypeError: if it says nothing.
    """
    says = (field.type.extra_json_schema or {}) if isinstance(field.type, Metadata) else {}
    if "description" not in says:
        raise TypeError(f"{field.name} is a setting without a reason: give it a Meta(description=...)")
    return says["description"], says.get("examples", [])


def _bare(kind: Type) -> Type:
    return kind.type if isinstance(kind, Metadata) else kind


def _holds_sections(kind: Type) -> bool:
    bare = _bare(kind)
    return isinstance(bare, StructType) or (
        isinstance(bare, VarTupleType) and isinstance(_bare(bare.item_type), StructType)
    )


def _may_be(field: Field, value: object) -> str:
    """What the type of a field allows, and its default where the value is another."""
    default = field.default
    otherwise = "" if default in (value, NODEFAULT, None, UNSET) else f"; default {_toml(default)}"
    return f"({_allowed(_bare(field.type))}{otherwise})"


def _allowed(kind: Type) -> str:
    match kind:
        case BoolType():
            return "true or false"
        case LiteralType(values=values):
            return " or ".join(_toml(each) for each in values)
        case IntType() | FloatType():
            return ("integer" if isinstance(kind, IntType) else "number") + _limits(kind)
        case VarTupleType(item_type=item):
            return f"list of: {_allowed(_bare(item))}"
        case UnionType(types=types):
            return " or ".join(_allowed(_bare(each)) for each in types if not isinstance(each, NoneType))
        case _:
            return "text"


def _limits(kind: IntType | FloatType) -> str:
    """In words, as the type has them."""
    bounds = ((kind.gt, "above"), (kind.ge, "at least"), (kind.lt, "below"), (kind.le, "at most"))
    return "".join(f", {words} {bound:.12g}" for bound, words in bounds if bound is not None)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    """A value as TOML has it. JSON's strings are TOML's, but for one character that TOML wants escaped."""
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
