"""What Bedrock asks of a Converse body beyond its shapes: documents, tools and their results that fit together.

The wordings are those of real refusals in public reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentflow.local.errors import invalid

# An underscore passes, though Bedrock's own message does not name it.
_DOCUMENT_NAME = re.compile(r"(?!.*\s\s)[\w()\[\]\s-]+", re.ASCII | re.DOTALL)


def check_documents(contents: Iterable[Iterable[Mapping[str, Any]]]) -> None:
    """Refuse documents with a name that Bedrock does not take, or without a text beside them.

    Raises
    ------
    Refusal
        There is one.
    """
    earlier: set[str] = set()
    for blocks in contents:
        names = [block["document"]["name"] for block in blocks if block.get("document")]
        if names and not any(block.get("text") for block in blocks):
            raise invalid("A text block must be included when using documents.")
        for name in names:
            if not _DOCUMENT_NAME.fullmatch(name):
                raise invalid(
                    "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
                    "parentheses, and square brackets. The name can't contain more than one consecutive whitespace "
                    "character. Check that the file name conforms to these restrictions and retry your request."
                )
            if name in earlier:
                raise invalid(
                    "Messages can't contain duplicate document names. Rename the document and retry your request."
                )
            earlier.add(name)


def check_tool_results(contents: Sequence[Iterable[Mapping[str, Any]]]) -> None:
    """Refuse a message that does not answer the tool calls of the one before it, and those alone.

    Raises
    ------
    Refusal
        There is one.
    """
    asked: set[str] = set()
    for number, blocks in enumerate(contents):
        where = f"messages.{number}.content"
        results = [block["toolResult"] for block in blocks if block.get("toolResult")]
        for place, result in enumerate(results):
            if not result["content"] and result.get("status") == "error":
                raise invalid(
                    f"The content field at {where}.{place}.toolResult cannot be empty when status value is error."
                )
        if len(results) > len(asked):
            raise invalid(
                f"The number of toolResult blocks at {where} exceeds the number of toolUse blocks of previous turn."
            )
        if missing := sorted(asked - {result["toolUseId"] for result in results}):
            raise invalid(f"Expected toolResult blocks at {where} for the following Ids: {', '.join(missing)}")
        asked = {block["toolUse"]["toolUseId"] for block in blocks if block.get("toolUse")}


def check_tool_schemas(tools: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a tool whose input is not of the type object.

    Raises
    ------
    Refusal
        There is one.
    """
    for number, tool in enumerate(tools):
        schema = tool["toolSpec"]["inputSchema"]["json"] if tool.get("toolSpec") else {"type": "object"}
        if not isinstance(schema, Mapping) or schema.get("type") != "object":
            raise invalid(
                f"The value at toolConfig.tools.{number}.toolSpec.inputSchema.json.type must be one of the following: "
                "object."
            )
