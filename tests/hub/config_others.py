"""For any configuration another one, in which every value differs: made from the types, so it never lags."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.inspect import Field, LiteralType, Metadata, StructType, UnionType, VarTupleType, type_info


def other(values: msgspec.Struct) -> Any:
    """The same kind of section, with another value for each field."""
    fields = type_info(type(values)).fields
    return type(values)(**{each.name: _other(each, getattr(values, each.name)) for each in fields})


def _other(field: Field, value: Any) -> Any:
    kind, says = field.type, {}
    if isinstance(kind, Metadata):
        kind, says = kind.type, kind.extra_json_schema
    if isinstance(kind, StructType):
        return other(value)
    candidates = list(says.get("examples", []))
    if isinstance(kind, LiteralType):
        candidates += kind.values
    elif isinstance(value, bool):
        candidates.append(not value)
    elif isinstance(value, int | float):
        candidates += [value + 1, value - 1]
    elif isinstance(value, str):
        candidates += [f"{value}, other", "0" * max(len(value), 1)]
    elif isinstance(kind, VarTupleType):
        candidates.append(value[1:])
    for each in candidates:
        if each != value and _fits(field, each):
            return each
    raise AssertionError(f"what else could {field.name} be? Give it a Meta(examples=[...])")


def _fits(field: Field, value: Any) -> bool:
    """Whether the field's own type takes it."""
    if value is None or value is UNSET or isinstance(value, tuple):
        return True
    bare = field.type.type if isinstance(field.type, Metadata) else field.type
    for kind in bare.types if isinstance(bare, UnionType) else (bare,):
        low = [bound for bound in (getattr(kind, "ge", None), getattr(kind, "gt", None)) if bound is not None]
        high = [
            bound for bound in (getattr(kind, "le", None), getattr(kind, "lt", None)) if bound is not None
        ]
        if isinstance(value, int | float) and any(value < each for each in low):
            continue
        if isinstance(value, int | float) and any(value > each for each in high):
            continue
        return True
    return False
