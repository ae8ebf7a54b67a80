"""Images and documents at the local endpoint, by boto3."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.endpoint import HAIKU, Endpoint, text_of

PNG = b"\x89PNG\r\n\x1a\n0000"
IMAGE = {"image": {"format": "png", "source": {"bytes": PNG}}}


def document(name: str = "Report", format_: str = "csv") -> dict[str, Any]:
    return {"document": {"name": name, "format": format_, "source": {"bytes": b"a,b"}}}


def messages(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def test_both_models_take_images_and_documents(either: Endpoint) -> None:
    answer = either.say("", messages=messages({"text": "Look."}, IMAGE, document()), inferenceConfig={"maxTokens": 8})
    assert text_of(answer)
    assert answer["usage"]["inputTokens"] > 20  # the notes that stand for them


@pytest.mark.parametrize(
    ("content", "wording"),
    [
        ([{"image": {"format": "bmp", "source": {"bytes": PNG}}}], "Member must satisfy enum value set: [png, jpeg,"),
        ([{"image": {"format": "jpeg", "source": {"bytes": PNG}}}], "does not match the specified image format: jpeg"),
        ([{"text": "x"}, document(format_="pdf")], "does not match the specified document format: pdf"),
        ([{"text": "x"}, document(format_="xlsx")], "does not match the specified document format: xlsx"),
        ([{"text": "x"}, document(format_="rtf")], "Member must satisfy enum value set: [pdf, csv, doc, docx,"),
        ([document()], "A text block must be included when using documents."),
        ([{"text": "x"}, document(), document()], "Messages can't contain duplicate document names."),
        ([{"text": "x"}, document("report.pdf")], "can only contain alphanumeric characters"),
        ([{"text": "x"}, document("two  blanks")], "can only contain alphanumeric characters"),
        ([{"text": "x"}, document("wide\u3000blank")], "can only contain alphanumeric characters"),
    ],
)
def test_bedrock_would_refuse_it_in_these_words(scripted: Endpoint, content: list[Any], wording: str) -> None:
    with pytest.raises(ClientError, match="ValidationException") as caught:
        scripted.say("", messages=messages(*content))
    assert wording in caught.value.response["Error"]["Message"]


@pytest.mark.parametrize("name", ["Q3 report-v1 (final) [2]", "under_score", " blanks around "])
def test_names_that_bedrock_takes_pass(scripted: Endpoint, name: str) -> None:
    assert name in text_of(scripted.say("", messages=messages({"text": "x"}, document(name))))


def test_anthropics_body_takes_images_and_documents(scripted: Endpoint) -> None:
    def source(media_type: str, data: bytes) -> dict[str, str]:
        return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}

    content = [
        {"type": "text", "text": "Look."},
        {"type": "image", "source": source("image/png", PNG)},
        {"type": "document", "title": "Q3", "source": source("application/pdf", b"%PDF-1.7")},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}},
    ]
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": messages(*content)}
    answer = json.loads(scripted.client.invoke_model(modelId=HAIKU, body=json.dumps(body))["body"].read())
    assert answer["content"][0]["text"].splitlines() == [
        "Look.",
        "[an image (png) is attached, which this model cannot see]",
        "[a document (pdf) is attached, which this model cannot read: Q3]",
        "[a document (plain) is attached, which this model cannot read: without a title]",
    ]
