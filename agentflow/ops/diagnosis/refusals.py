"""Causes that an error says by itself: access, credentials, profile, region, model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentflow.models.catalog import load_catalog
from agentflow.models.model_spec import ModelSpec
from agentflow.ops.diagnosis.finding import Cause, Finding
from agentflow.ops.diagnosis.seen import Seen

if TYPE_CHECKING:
    import pandas as pd

_ERROR = ("model_id", "region", "error", "error_type")
_RETIRED_WORDS = "legacy|end of life|being retired"
_REGION_WORDS = "InvalidRegion|NoRegion|UnknownRegion|cannot be resolved|is no AWS region"


def access_denied(seen: Seen) -> Iterator[Finding]:
    """Find refusals of Bedrock to let the caller use a model."""
    yield from _refusals(seen, "access_denied", seen.failures("AccessDeniedError"), "Bedrock denied access")


def expired_credentials(seen: Seen) -> Iterator[Finding]:
    """Find credentials that have expired, are wrong, or are missing."""
    failed = seen.failures("CredentialsError")
    yield from _refusals(seen, "expired_credentials", failed, "AWS took no credentials")


def wrong_profile(seen: Seen) -> Iterator[Finding]:
    """Find models that were called by their bare id, and can be called through an inference profile only."""
    failed = seen.failures("ProfileNeededError")
    yield from _refusals(seen, "wrong_profile", failed, "A model was called without its inference profile")


def bad_region(seen: Seen) -> Iterator[Finding]:
    """Find regions that do not exist, do not resolve, or do not have the model."""
    failed = seen.failures("ConfigurationError", "EndpointError")
    failed = failed[failed["error"].str.contains(_REGION_WORDS, na=False)]
    yield from _refusals(seen, "bad_region", failed, "The region cannot be used")
    missing = seen.failures("ModelNotFoundError")
    missing = missing[missing["error"].str.startswith("ValidationException", na=False)]
    elsewhere = missing[missing["error"].map(_names_known_model)]
    yield from _refusals(
        seen, "bad_region", elsewhere, "A model was called from a region, or by a prefix, that lacks it", confidence=0.8
    )


def retired_model(seen: Seen) -> Iterator[Finding]:
    """Find models that Bedrock retires, and calls of models whose end of life has passed."""
    gone = seen.failures("ModelNotFoundError")
    gone = gone[gone["error"].str.contains(_RETIRED_WORDS, case=False, na=False)]
    yield from _refusals(seen, "retired_model", gone, "A model is being retired")
    if not gone.empty:
        return
    calls = seen.new(seen.answered)
    ended = {str(id_): end for id_ in calls["model_id"].dropna().unique() if (end := _end_of_life(str(id_), seen))}
    if ended:
        bad = calls[calls["model_id"].isin(ended)]
        names = ", ".join(f"{id_} ({end})" for id_, end in ended.items())
        yield seen.found(
            "retired_model", bad, calls, confidence=0.95,
            summary=f"Models answered whose end of life has passed: {names}.",
            fix="Name a current model, as `agentflow models` lists them; `select_model` chooses one.",
            columns=("model", "model_id"),
        )  # fmt: skip


def _end_of_life(model_id: str, seen: Seen) -> str:
    """Return the day of a model's end of life where it has passed, else an empty text."""
    spec = _spec_of(model_id)
    end = spec.end_of_life if spec else None
    return end.isoformat() if end and end <= seen.now.date() else ""


def _spec_of(model_id: str) -> ModelSpec | None:
    """Return what the catalog has of a model, by its id or a profile of it."""
    return next((spec for spec in load_catalog().models.values() if model_id.endswith(spec.id)), None)


def _names_known_model(error: str) -> bool:
    """Return whether an error names a model of the catalog."""
    return any(_spec_of(word.strip(",.'")) for word in str(error).split())


def _refusals(
    seen: Seen, cause: Cause, failed: pd.DataFrame, what: str, *, confidence: float = 1.0
) -> Iterator[Finding]:
    """Find failed steps of a kind, all in one finding; what AWS said and what to do stand in their records."""
    if failed.empty:
        return
    first = failed.iloc[0]
    steps = ", ".join(dict.fromkeys(failed["step_id"].dropna()))
    times = f"{len(failed):,} times" if len(failed) > 1 else "once"
    fixes = failed["fix"].dropna()
    yield seen.found(
        cause, failed, seen.new(seen.steps), confidence=confidence,
        summary=f"{what}, {times}, in {steps}: {first['error']}",
        fix=str(fixes.iloc[0]) if len(fixes) else "`agentflow health` says more.",
        mildest="P2", columns=_ERROR,
    )  # fmt: skip
