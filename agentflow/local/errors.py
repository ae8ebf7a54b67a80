"""The errors of this room: for the person who starts the endpoint, and for the client that calls it."""

from __future__ import annotations

from typing import Literal, TypeAlias

INSTALL = "pip install aiohttp platformdirs xllamacpp"

#: HTTP status of each error code (service models bedrock-runtime 2023-09-30, bedrock 2023-04-20; AWS's common errors).
STATUS_BY_CODE = {
    "AccessDeniedException": 403,
    "ValidationException": 400,
    "ResourceNotFoundException": 404,
    "ThrottlingException": 429,
    "ServiceQuotaExceededException": 400,
    "ConflictException": 400,
    "ModelNotReadyException": 429,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ModelStreamErrorException": 424,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
    "ExpiredTokenException": 403,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "SerializationException": 400,
    "UnknownOperationException": 404,
    "NoSuchResourceException": 400,  # this and the next: of Service Quotas
    "InvalidPaginationTokenException": 400,
}

TOO_LONG = "Input is too long for requested model."

BreakingOff: TypeAlias = Literal["cut_stream", "short_stream", "bad_checksum", "reset"]


class LocalEndpointError(RuntimeError):
    """The local endpoint cannot start; the message says why and what to do next."""


class Refusal(Exception):  # noqa: N818 - it is an answer on the wire, not a failure of this program
    """A request that gets an error of Bedrock's instead of an answer."""

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS_BY_CODE[code]


class BrokenOffError(Exception):
    """An answer ends here by a fault that no error of Bedrock's tells."""

    def __init__(self, how: BreakingOff) -> None:
        super().__init__(how)
        self.how = how


def invalid(message: str) -> Refusal:
    """Return Bedrock's commonest refusal."""
    return Refusal("ValidationException", message)


def missing_package(error: ImportError) -> LocalEndpointError:
    """Return the error for a package of the extra `local` that is not installed, or that the system cannot load."""
    if not isinstance(error, ModuleNotFoundError):  # llama.cpp needs the system's OpenMP library
        return LocalEndpointError(f"The local model cannot be loaded: {error}. On Debian: apt-get install libgomp1")
    return LocalEndpointError(f"The local endpoint needs the package {error.name}: run {INSTALL}")
