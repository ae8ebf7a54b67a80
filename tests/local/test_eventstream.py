from __future__ import annotations

import json
import random

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer

from agentflow.local import eventstream

# From the fact sheet, section 4.4.
GOLDEN = bytes.fromhex(
    "0000007700000052abb5d36e0b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d74797065070010"
    "6170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a2022617373697374616e"
    "74227d5be0d2f5"
)


def test_an_event_is_the_known_bytes() -> None:
    assert eventstream.event("messageStart", {"role": "assistant"}) == GOLDEN


@pytest.mark.parametrize("seed", range(5))
def test_botocore_reads_frames_however_they_are_cut(seed: int) -> None:
    texts = ["", "héllo \u2603", "x" * 5000]
    wire = b"".join(eventstream.event("contentBlockDelta", {"delta": {"text": text}}) for text in texts)
    wire += eventstream.exception("throttlingException", {"message": "slow down"})
    cuts = sorted(random.Random(seed).sample(range(len(wire)), 30))
    buffer, messages = EventStreamBuffer(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        buffer.add_data(wire[start:end])
        messages.extend(buffer)
    assert [json.loads(message.payload)["delta"]["text"] for message in messages[:-1]] == texts
    assert messages[-1].headers[":exception-type"] == "throttlingException"
    assert messages[-1].headers[":message-type"] == "exception"


@pytest.mark.parametrize("byte", [3, 9, 40, -6, -1])
def test_either_checksum_shows_a_changed_byte(byte: int) -> None:
    broken = bytearray(GOLDEN)
    broken[byte] ^= 1
    buffer = EventStreamBuffer()
    buffer.add_data(bytes(broken))
    with pytest.raises(ChecksumMismatch):
        next(buffer)
