"""Tests of an unmodified openai-python against a running system. Environment: TURNWRIGHT_URL, TURNWRIGHT_KEY,
TURNWRIGHT_LIMITED_KEY. A key named limited may use the model gpt-strict only."""

import json
import os
import unittest

import openai

URL = os.environ["TURNWRIGHT_URL"]
KEY = os.environ["TURNWRIGHT_KEY"]
LIMITED_KEY = os.environ["TURNWRIGHT_LIMITED_KEY"]
MODEL = "gpt-strict"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def client(key=KEY):
    return openai.OpenAI(base_url=URL, api_key=key, max_retries=0, timeout=30)


def ask(content, model=MODEL):
    return {"model": model, "messages": [{"role": "user", "content": content}]}


class OpenAiPython(unittest.TestCase):
    def test_completes_a_chat_with_usage(self):
        completion = client().chat.completions.create(**ask("hello"))
        self.assertEqual(completion.choices[0].message.content, "You said: hello")
        self.assertEqual(completion.choices[0].finish_reason, "stop")
        self.assertEqual(completion.usage.total_tokens, 29)

    def test_completes_a_chat_whose_tools_the_server_runs(self):
        completion = client().chat.completions.create(**ask("calculate 1337 * 42"))
        self.assertIn("56154", completion.choices[0].message.content)
        self.assertIsNone(completion.choices[0].message.tool_calls)
        self.assertEqual(completion.usage.total_tokens, 58)

    def test_streams_usage_in_a_last_chunk_without_choices(self):
        stream = client().chat.completions.create(
            **ask("hello"), stream=True, stream_options={"include_usage": True}
        )
        *chunks, last = list(stream)
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks), "You said: hello")
        self.assertEqual((last.choices, last.usage.total_tokens), ([], 29))

    def test_reads_a_stream_in_which_the_server_runs_tools_by_the_plain_loop(self):
        text = ""
        for chunk in client().chat.completions.create(**ask("calculate 1337 * 42"), stream=True):
            text += chunk.choices[0].delta.content or ""
        self.assertRegex(text, "^One moment. The tool says: .*56154")

    def test_gets_calls_of_its_own_tools_and_goes_on_with_their_results(self):
        request = ask("get_weather of Paris")
        message = client().chat.completions.create(**request, tools=[WEATHER]).choices[0].message
        (call,) = message.tool_calls
        self.assertEqual((call.function.name, json.loads(call.function.arguments)), ("get_weather", {"city": "Paris"}))
        with client().chat.completions.stream(**request, tools=[WEATHER]) as stream:
            (streamed,) = stream.get_final_completion().choices[0].message.tool_calls
        self.assertEqual((streamed.id, streamed.function.arguments), (call.id, call.function.arguments))
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        messages = [*request["messages"], message.model_dump(exclude_none=True), result]
        answer = client().chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
        self.assertEqual(answer.choices[0].message.content, "The tool says: sunny")

    def test_gets_structured_output(self):
        schema = {
            "type": "object",
            "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}},
            "required": ["city", "degrees"],
            "additionalProperties": False,
        }
        response_format = {"type": "json_schema", "json_schema": {"name": "forecast", "strict": True, "schema": schema}}
        completion = client().chat.completions.create(**ask("How is Paris?"), response_format=response_format)
        self.assertEqual(json.loads(completion.choices[0].message.content), {"city": "Paris", "degrees": 24})
        completion = client().chat.completions.create(
            **ask("calculate 1 + 1, in JSON"), response_format={"type": "json_object"}
        )
        self.assertEqual(json.loads(completion.choices[0].message.content), {"json": True})

    def test_chooses_the_tools_of_the_server_by_a_field_or_a_header(self):
        for choice in ({"extra_body": {"server_tools": "off"}}, {"extra_headers": {"X-Server-Tools": "off"}}):
            completion = client().chat.completions.create(**ask("calculate 1 + 1"), **choice)
            self.assertEqual(completion.choices[0].message.content, "You said: calculate 1 + 1")
        with self.assertRaises(openai.BadRequestError) as caught:
            client().chat.completions.create(**ask("hello"), extra_body={"server_tools": "maybe"})
        self.assertEqual(caught.exception.param, "server_tools")

    def test_gets_an_error_of_its_own_class_for_credentials(self):
        with self.assertRaises(openai.AuthenticationError):
            client("sk-wrong").chat.completions.create(**ask("hello"))
        with self.assertRaises(openai.PermissionDeniedError) as caught:
            client(LIMITED_KEY).chat.completions.create(**ask("hello", "gpt-other"))
        self.assertEqual(caught.exception.param, "model")

    def test_gets_an_error_of_its_own_class_for_failures_of_the_endpoint(self):
        for model, kind, code in (
            ("no-such-model", openai.NotFoundError, "model_not_found"),
            ("overflowing", openai.BadRequestError, "context_length_exceeded"),
            ("unpaid", openai.RateLimitError, "insufficient_quota"),
            ("crowded", openai.RateLimitError, "rate_limit_exceeded"),
            ("unprocessable", openai.UnprocessableEntityError, None),
        ):
            for stream in (False, True):
                with self.subTest(model=model, stream=stream), self.assertRaises(kind) as caught:
                    client().chat.completions.create(**ask("hello", f"{model} of Python"), stream=stream)
                if code is not None:
                    self.assertEqual(caught.exception.code, code)

    def test_lists_the_models(self):
        self.assertIn(MODEL, [model.id for model in client().models.list()])


if __name__ == "__main__":
    unittest.main()
