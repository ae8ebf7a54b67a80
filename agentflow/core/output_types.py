"""Stand-in until the branch `content` is merged: output types in their short form."""

from __future__ import annotations

from pydantic import BaseModel, create_model

_TYPES = {"str": str, "int": int, "float": float, "bool": bool}
_SHORT_FORMS: dict[type[BaseModel], str] = {}


def from_short_form(text: str) -> type[BaseModel]:
    """Return the model of `"urgent: bool, product: str"`."""
    fields: dict[str, tuple[type, object]] = {}
    for part in text.split(","):
        name, _, kind = (piece.strip() for piece in part.partition(":"))
        if not name.isidentifier() or kind not in _TYPES:
            raise ValueError(f"{part.strip()!r} is no field such as 'urgent: bool'")
        fields[name] = (_TYPES[kind], ...)
    model: type[BaseModel] = create_model("Output", **fields)  # type: ignore[call-overload]
    _SHORT_FORMS[model] = ", ".join(f"{name}: {kind.__name__}" for name, (kind, _) in fields.items())
    return model


def short_form_of(model_class: type[BaseModel]) -> str | None:
    """Return the short form of an output type, None where it has none."""
    return _SHORT_FORMS.get(model_class)
