from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from agentflow import AgentConfig, BedrockClient, SimpleAgent, Workflow
from agentflow.core.events import TextDelta
from tests.endpoint import HAIKU, Endpoint, text_of, user


def test_it_answers_with_its_own_token_counts(small_model: Endpoint) -> None:
    short = small_model.say("Hi", inferenceConfig={"maxTokens": 3})
    long = small_model.say("Hi, how are you doing today?", inferenceConfig={"maxTokens": 3})
    assert short["usage"]["outputTokens"] == 3
    assert short["stopReason"] == "max_tokens"
    assert long["usage"]["inputTokens"] > short["usage"]["inputTokens"] > 1


def test_a_prompt_longer_than_its_context_gets_bedrocks_error(small_model: Endpoint) -> None:
    with pytest.raises(ClientError) as caught:
        small_model.say("word " * 9000)
    assert caught.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "Input is too long for requested model.",
    }
    with pytest.raises(ClientError, match="Input is too long"):  # a stream refuses it before it begins
        small_model.client.converse_stream(modelId=HAIKU, messages=user("word " * 9000))


def test_a_stop_sequence_is_reported_and_billed_to_its_end(small_model: Endpoint) -> None:
    settings = {"maxTokens": 60, "temperature": 0.0}
    whole = small_model.say("Count from one to ten.", inferenceConfig=settings)
    stop = text_of(whole)[10:13]
    answer = small_model.say("Count from one to ten.", inferenceConfig={**settings, "stopSequences": [stop]})
    assert answer["stopReason"] == "stop_sequence"
    assert text_of(answer) == text_of(whole).partition(stop)[0]
    assert 0 < answer["usage"]["outputTokens"] < whole["usage"]["outputTokens"]


def test_a_seed_repeats_an_answer(small_model: Endpoint) -> None:
    def say(seed: int) -> str:
        settings = {"maxTokens": 16, "temperature": 1.0}
        extra = {"seed": seed}
        return text_of(small_model.say("Invent a name.", inferenceConfig=settings, additionalModelRequestFields=extra))

    first = say(1)  # its prompt is cached from here on, which can change the last digits of the sums
    assert say(1) == say(1)
    assert {first, say(2), say(3), say(4)} != {first}


def test_a_schema_that_is_none_is_refused(small_model: Endpoint) -> None:
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type": "nonsense"}'}}}
    with pytest.raises(ClientError, match="ValidationException"):
        small_model.say("Hi", outputConfig={"textFormat": text_format})


def test_only_the_scripted_model_takes_a_script(small_model: Endpoint) -> None:
    with pytest.raises(ValueError, match="Only the scripted model takes a script"):
        small_model.follow(text="fixed")


def test_a_client_that_hangs_up_frees_its_place(small_model: Endpoint) -> None:
    settings = {"maxTokens": 1000, "temperature": 0.0, "stopSequences": ["\u2603"]}
    for _ in range(4):  # as many as the model has slots
        stream = small_model.client.converse_stream(
            modelId=HAIKU, messages=user("Write a very long story."), inferenceConfig=settings
        )["stream"]
        next(iter(stream))
        stream.close()
    start = time.monotonic()
    small_model.say("Hi", inferenceConfig={"maxTokens": 2})
    assert time.monotonic() - start < 5  # four answers of 1,000 tokens take over 30 s
    assert small_model.stats()["in_flight"] <= 4


@pytest.mark.soak
def test_more_calls_than_slots_queue_and_are_all_served(small_model: Endpoint) -> None:
    client = small_model.new_client(connections=30)
    before = small_model.stats()["answers"]

    def say(number: int) -> int:
        answer = client.converse(modelId=HAIKU, messages=user(f"Say {number}"), inferenceConfig={"maxTokens": 3})
        tokens: int = answer["usage"]["outputTokens"]
        return tokens

    with ThreadPoolExecutor(30) as pool:
        assert all(tokens > 0 for tokens in pool.map(say, range(30)))
    assert small_model.stats()["answers"] - before == 30


async def test_it_gives_structured_output(small_model: Endpoint) -> None:
    config = AgentConfig(name="c", output_type="area: 'billing' | 'login', urgent: bool", temperature=0, max_tokens=60)
    agent = SimpleAgent(config, BedrockClient(endpoint_url=small_model.url), prompt_template="Classify: {ticket}")
    output = await agent.run({"ticket": "I cannot log in, help at once!"})
    assert type(output.urgent) is bool
    assert output.area in {"billing", "login"}


async def test_its_text_comes_as_events(small_model: Endpoint) -> None:
    client = BedrockClient(endpoint_url=small_model.url)
    workflow = Workflow("story")
    workflow.add_step(
        "tell", SimpleAgent(AgentConfig(name="t", max_tokens=30), client, prompt_template="Count to ten.")
    )
    events = [event async for event in workflow.stream(deltas=True)]
    assert workflow.last_result is not None
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(texts) > 1
    assert "".join(texts) == workflow.last_result.outputs["tell"]
