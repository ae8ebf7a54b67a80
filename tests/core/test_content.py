"""Images and documents in prompts: which values stand for them, and what reaches the wire."""

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow, WorkflowError
from agentflow.core.content import MAX_BYTES, Attachment
from agentflow.core.errors import DefinitionError, InputError
from agentflow.core.model import Request
from agentflow.core.template import Template
from tests.endpoint import Endpoint

PNG = b"\x89PNG\r\n\x1a\n0000"
JPEG = b"\xff\xd8\xff\xe0"
WEBP = b"RIFF0000WEBPVP8 "
PDF = b"%PDF-1.7"


def written(folder: Path, name: str, data: bytes = b"some text") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "kind", "format_"),
    [
        ("a.png", PNG, "image", "png"), ("a.JPG", JPEG, "image", "jpeg"), ("a.jpeg", JPEG, "image", "jpeg"),
        ("a.gif", b"GIF89a", "image", "gif"), ("a.webp", WEBP, "image", "webp"),
        *((f"a.{suffix}", b"x", "document", suffix)
          for suffix in ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")),
    ],
)  # fmt: skip
def test_the_suffix_of_a_path_tells_the_format(tmp_path: Path, name: str, data: bytes, kind: Any, format_: str) -> None:
    assert Attachment.of(written(tmp_path, name, data)) == Attachment(kind, format_, data, "a")


def test_an_image_under_another_suffix_is_sent_as_what_it_is(tmp_path: Path) -> None:
    assert Attachment.of(written(tmp_path, "photo.jpg", WEBP)).format == "webp"


@pytest.mark.parametrize(
    ("data", "kind", "format_"),
    [(PNG, "image", "png"), (bytearray(JPEG), "image", "jpeg"), (b"GIF89a", "image", "gif"), (WEBP, "image", "webp"),
     (PDF, "document", "pdf")],
)  # fmt: skip
def test_bytes_tell_their_format_themselves(data: bytes, kind: str, format_: str) -> None:
    attachment = Attachment.of(data)
    assert (attachment.kind, attachment.format, attachment.data, attachment.name) == (kind, format_, data, "")


def test_an_image_of_pillow_is_sent_as_png() -> None:
    attachment = Attachment.of(Image.new("RGB", (3, 2), "red"))
    assert Image.open(io.BytesIO(attachment.data), formats=["PNG"]).size == (3, 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "missing.png", r"missing\.png cannot be read: No such file"),
        (lambda folder: written(folder, "empty.pdf", b""), r"empty\.pdf is empty"),
        (lambda folder: written(folder, "notes.rtf"), r"notes\.rtf is no file.*png, jpeg, gif, webp.*pdf, csv, doc,"),
        (lambda folder: folder, "is no file that a prompt takes"),
        (lambda _: b"just text", r"9 bytes are no image and no PDF.*as str"),
        (lambda _: Image.new("F", (1, 1)), "This Image cannot be shown as PNG"),
        (lambda _: 5, "type int is no image"),
    ],
)
def test_a_value_that_cannot_be_sent_is_named(tmp_path: Path, make: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Attachment.of(make(tmp_path))


@pytest.mark.parametrize(
    ("kind", "format_", "data", "says"),
    [
        ("image", "bmp", b"x", r"'a' is of the format 'bmp'.*png, jpeg"),
        ("image", "pdf", b"x", "'a' is of the format 'pdf'"),
        ("video", "mp4", b"x", "'mp4'"),
        ("image", "png", b"", "'a' is empty"),
        ("image", "png", "text", "'a' is empty"),
        ("image", "png", bytes(MAX_BYTES["image"] + 1), r"'a' has 3,932,161 bytes; Bedrock takes 3,932,160 of a png"),
        ("document", "csv", bytes(MAX_BYTES["document"] + 1), "Split it"),
    ],
)
def test_an_attachment_is_checked_where_it_is_made(kind: Any, format_: str, data: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Attachment(kind, format_, data, "a")


def test_a_pdf_may_be_of_any_size_and_no_repr_shows_bytes() -> None:
    large = Attachment("document", "pdf", bytes(MAX_BYTES["document"] + 1), "big")
    assert repr(large) == "Attachment(kind='document', format='pdf', name='big')"


def test_a_template_gives_blocks_in_order(tmp_path: Path) -> None:
    photo, report = Attachment("image", "png", PNG), written(tmp_path, "q3.csv")
    template = Template("{who}, compare {photo} with\n{files}\n{more}.")
    content = template.render({"who": "Ada", "photo": photo, "files": [report, PDF], "more": photo})
    assert content == (
        "Ada, compare ", photo, " with\n", Attachment("document", "csv", b"some text", "q3"),
        Attachment("document", "pdf", PDF), photo, ".",
    )  # fmt: skip


def test_what_is_inside_a_structure_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    values = {"row": {"file": path}, "mixed": ["a", path], "none": []}
    assert Template("{row} {mixed} {none}").render(values) == f'{{"file": "{path}"}} ["a", "{path}"] []'
    assert Template("{row.file}").render({"row": {"file": written(tmp_path, "a.png", PNG)}}) == (
        Attachment("image", "png", PNG, "a"),
    )


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ((Attachment("document", "pdf", PDF),), "a document without text"),
        ((" ", Attachment("document", "pdf", PDF)), "a document without text"),
        (("Compare.", *[Attachment("document", "pdf", PDF)] * 6), "6 documents; Bedrock takes 5"),
        (("Look:", PNG), r"A bytes in the prompt cannot be sent.*Attachment\.of"),
        (None, "type NoneType"),
    ],
)
def test_a_prompt_that_bedrock_would_refuse_is_refused_before_it_is_sent(prompt: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Request(prompt)


async def test_a_step_sends_images_and_documents(scripted: Endpoint, tmp_path: Path) -> None:
    workflow = Workflow("look")
    agent = SimpleAgent(
        AgentConfig(name="a"), BedrockClient(endpoint_url=scripted.url), prompt_template="What is in {files}?"
    )
    workflow.add_step("see", agent)
    files = [written(tmp_path, "photo.png", PNG), written(tmp_path, "Q3 report_v2.csv")]
    result = await workflow.execute(files=files)
    assert result.outputs["see"].splitlines() == [
        "What is in ",
        "[an image (png) is attached, which this model cannot see]",
        "[a document (csv) is attached, which this model cannot read: Q3 report v2]",
        "?",
    ]


class Picture:
    """Shows itself as PNG, and remembers on which thread it had to."""

    drawn_on: threading.Thread | None = None

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        self.drawn_on = threading.current_thread()
        return PNG, {"width": 5}


async def test_pictures_are_drawn_and_files_read_beside_the_event_loop(scripted: Endpoint) -> None:
    picture = Picture()
    agent = SimpleAgent(AgentConfig(name="a"), BedrockClient(endpoint_url=scripted.url), prompt_template="{picture}")
    assert await agent.run({"picture": picture}) == "[an image (png) is attached, which this model cannot see]"
    assert picture.drawn_on not in {None, threading.current_thread()}


async def test_a_file_that_is_not_there_fails_the_step_and_sends_nothing(scripted: Endpoint, tmp_path: Path) -> None:
    before = scripted.stats()["requests"]
    workflow = Workflow("look")
    agent = SimpleAgent(AgentConfig(name="a"), BedrockClient(endpoint_url=scripted.url), prompt_template="See {photo}")
    workflow.add_step("see", agent)
    with pytest.raises(WorkflowError, match=r"nowhere\.png cannot be read"):
        await workflow.execute(photo=tmp_path / "nowhere.png")
    assert scripted.stats()["requests"] == before


async def test_a_system_prompt_takes_text_only(tmp_path: Path) -> None:
    agent = SimpleAgent(AgentConfig(name="a", system="Like {photo}"), prompt_template="Draw.")
    with pytest.raises(InputError, match=r"system prompt of 'a'.*prompt_template"):
        await agent.run({"photo": tmp_path / "a.png"})


async def test_examples_are_turns_before_the_prompt_and_their_braces_are_text(scripted: Endpoint) -> None:
    agent = SimpleAgent(
        AgentConfig(name="a"),
        BedrockClient(endpoint_url=scripted.url),
        prompt_template="{question}",
        examples=[("2+{x}?", '{"answer": 4}')],
    )
    assert agent.examples == (("2+{x}?", '{"answer": 4}'),)
    assert dict(agent.parameters) == {"question": True}
    billed = scripted.stats()["billed"]["input_tokens"]
    assert await agent.run({"question": "Why?"}) == "Why?"
    assert scripted.stats()["billed"]["input_tokens"] - billed == 3 * 3 + 1 + 3 + 1  # messages, and their words


@pytest.mark.parametrize("example", ["ab", ("a",), ("a", ""), ("a", 1), {"user": "a"}, ("a", "b", "c")])
def test_an_example_that_is_no_pair_of_texts_is_shown(example: Any) -> None:
    with pytest.raises(DefinitionError, match=r"the example .* is no pair of texts"):
        SimpleAgent(AgentConfig(name="a"), prompt_template="x", examples=[example])
