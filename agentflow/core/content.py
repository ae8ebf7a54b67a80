"""What a message is made of beside text: images and documents, results of tools, points of the prompt cache.

Sources of the rules: botocore's service model `bedrock-runtime` (ImageBlock, DocumentBlock, Message), and for the
documents without a limit of size the Amazon Bedrock User Guide, inference-api-restrictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from agentflow.core.errors import InputError

Kind: TypeAlias = Literal["image", "document"]

FORMATS: Mapping[Kind, tuple[str, ...]] = {
    "image": ("png", "jpeg", "gif", "webp"),
    "document": ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
}
ACCEPTED = f"Images may be {', '.join(FORMATS['image'])} (or jpg), documents {', '.join(FORMATS['document'])}."

MAX_DOCUMENTS = 5
MAX_BYTES: Mapping[Kind, int] = {"image": 3_932_160, "document": 4_718_592}  # 3.75 and 4.5 MB
_ANY_SIZE = {"pdf", "docx"}  # Claude 4 and later take a PDF of any size, Nova a DOCX as well

# How the bytes of a format begin, and what stands at the ninth.
_MARKS: Mapping[str, tuple[bytes, bytes]] = {
    "png": (b"\x89PNG\r\n\x1a\n", b""),
    "jpeg": (b"\xff\xd8\xff", b""),
    "gif": (b"GIF8", b""),
    "webp": (b"RIFF", b"WEBP"),
    "pdf": (b"%PDF-", b""),
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image or a document that stands in a prompt.

    Attributes
    ----------
    kind : `image` or `document`.
    format : one of `FORMATS[kind]`.
    data : the file's bytes.
    name : what the model is told that a document is called; empty is a neutral name, such as ``document-1``. A name is
        part of the prompt: take none from people you do not trust.

    Raises
    ------
    InputError
        Bedrock takes no such format, the data is empty, or more than Bedrock takes.
    """

    kind: Kind
    format: str
    data: bytes = field(repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        shown = repr(self.name) if self.name else f"The {self.kind}"
        if self.kind not in get_args(Kind) or self.format not in FORMATS[self.kind]:
            raise InputError(f"{shown} is of the format {self.format!r}, which no prompt takes.", fix=ACCEPTED)
        if not isinstance(self.data, bytes) or not self.data:
            raise InputError(f"{shown} is empty.", fix="Give the bytes of a file.")
        limit = MAX_BYTES[self.kind]
        if len(self.data) > limit and self.format not in _ANY_SIZE:
            raise InputError(
                f"{shown} has {len(self.data):,} bytes; Bedrock takes {limit:,} of a {self.format}.",
                fix="Make it smaller." if self.kind == "image" else "Split it, or give it as a PDF.",
            )

    @classmethod
    def of(cls, value: Any) -> Attachment:
        """Return the attachment that a value stands for.

        Parameters
        ----------
        value : a `pathlib.Path`, which is read (its suffix tells the format); `bytes` of an image or a PDF; an object
            that shows itself as PNG in a notebook, such as an image of Pillow; an `Attachment`.

        Raises
        ------
        InputError
            The value cannot be read, or is no image and no document.
        """
        if isinstance(value, Attachment):
            return value
        if isinstance(value, Path):
            return _from_file(value)
        if isinstance(value, bytes | bytearray):
            return _from_bytes(bytes(value))
        if _shows_itself(value):
            return _from_picture(value)
        raise InputError(
            f"A value of type {type(value).__name__} is no image and no document.", fix="Give a pathlib.Path or bytes."
        )


CacheTime: TypeAlias = Literal["5m", "1h"]  # how long Bedrock keeps a prefix of the prompt


@dataclass(frozen=True, slots=True)
class CachePoint:
    """Ends a prefix of the prompt that Bedrock keeps, so that the next request that begins with it costs less.

    Attributes
    ----------
    ttl : how long it is kept after its last use.

    Raises
    ------
    InputError
        Bedrock keeps no prefix for such a time.
    """

    ttl: CacheTime = "5m"

    def __post_init__(self) -> None:
        if self.ttl not in get_args(CacheTime):
            raise InputError(f"CachePoint({self.ttl!r}) is for no time that Bedrock has.", fix="Give '5m' or '1h'.")


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back.

    Attributes
    ----------
    tool_use_id : of the model's request for it.
    text : the result; JSON text where it is structured.
    is_error : the tool failed, and the text says how.
    """

    tool_use_id: str
    text: str
    is_error: bool = False


Block: TypeAlias = str | Attachment | ToolResult | CachePoint
Content: TypeAlias = str | tuple[Block, ...]


def attached(value: Any) -> tuple[Any, ...]:
    """Return what a value gives a prompt besides text: itself, or each item of a list; nothing where it is text."""
    if isinstance(value, str):  # first, since it is asked of every piece of every prompt
        return ()
    if isinstance(value, list | tuple):
        return tuple(value) if all(_is_attachable(item) for item in value) else ()
    return (value,) if _is_attachable(value) else ()


def takes_time(value: Any) -> bool:
    """Return whether a file has to be read, or a picture drawn, to put a value into a prompt."""
    return any(not isinstance(item, Attachment | bytes | bytearray) for item in attached(value))


def check_content(content: Any) -> None:
    """Raise an `InputError` where Bedrock takes no such prompt.

    A document needs some text beside it, and no more than `MAX_DOCUMENTS` go into a request.
    """
    if isinstance(content, str):
        return
    fix = "Give text, or a list of texts and attachments: Attachment.of(path)."
    if not isinstance(content, tuple):
        raise InputError(f"A prompt of type {type(content).__name__} cannot be sent.", fix=fix)
    if not all(isinstance(block, Block) for block in content):
        wrong = next(block for block in content if not isinstance(block, Block))
        raise InputError(f"A {type(wrong).__name__} in the prompt cannot be sent.", fix=fix)
    documents = sum(isinstance(block, Attachment) and block.kind == "document" for block in content)
    if documents > MAX_DOCUMENTS:
        raise InputError(
            f"The prompt has {documents} documents; Bedrock takes {MAX_DOCUMENTS}.", fix="Ask about a few at a time."
        )
    if documents and not any(isinstance(block, str) and block.strip() for block in content):
        raise InputError("The prompt is a document without text.", fix="Say in the prompt what to do with it.")


def _is_attachable(value: Any) -> bool:
    return isinstance(value, Attachment | Path | bytes | bytearray) or _shows_itself(value)


def _shows_itself(value: Any) -> bool:
    # Asked of the class: an object that makes up attributes, such as a step's output, would say yes to anything.
    return callable(getattr(type(value), "_repr_png_", None))


def _from_file(path: Path) -> Attachment:
    suffix = path.suffix.lower().removeprefix(".")
    given = "jpeg" if suffix == "jpg" else suffix
    kind: Kind = "image" if given in FORMATS["image"] else "document"
    if given not in FORMATS[kind]:
        raise InputError(f"{path} is no file that a prompt takes.", fix=ACCEPTED)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", fix="Check the path.") from error
    if not data:
        raise InputError(f"{path} is empty.", fix="Give a file with something in it.")
    if kind == "image" and (found := _format_of(data)) in FORMATS["image"]:
        given = found  # an image saved under another suffix is common, and Bedrock refuses it
    return Attachment(kind, given, data, path.stem)


def _from_bytes(data: bytes) -> Attachment:
    found = _format_of(data)
    if not found:
        raise InputError(
            f"These {len(data):,} bytes are no image and no PDF.",
            fix="Give text as str, and other files as a pathlib.Path or an Attachment. " + ACCEPTED,
        )
    return Attachment("document" if found == "pdf" else "image", found, data)


def _from_picture(picture: Any) -> Attachment:
    shown = picture._repr_png_()
    data = shown[0] if isinstance(shown, tuple) else shown  # IPython also takes the data with its metadata
    if not isinstance(data, bytes):
        raise InputError(f"This {type(picture).__name__} cannot be shown as PNG.", fix="Save it, and give the path.")
    return Attachment("image", "png", data)


def _format_of(data: bytes) -> str:
    """Return the format that the bytes begin like, empty where it is none that is known."""
    marks = _MARKS.items()
    return next((name for name, (start, at_8) in marks if data.startswith(start) and data[8:12].startswith(at_8)), "")
