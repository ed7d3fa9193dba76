"""Tests of an unmodified LangChain for Python against a running system. Environment: as of test_openai.py."""

import os
import unittest

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

SCHEMA = {
    "title": "forecast",
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat(**more):
    key = os.environ["TURNWRIGHT_KEY"]
    url = os.environ["TURNWRIGHT_URL"]
    return ChatOpenAI(model="gpt-strict", api_key=key, base_url=url, max_retries=0, timeout=30, **more)


class LangChainPython(unittest.TestCase):
    def test_answers_with_the_tools_of_the_server_and_usage(self):
        self.assertEqual(chat().invoke("hello").content, "You said: hello")
        answer = chat().invoke("calculate 1337 * 42")
        self.assertIn("56154", answer.content)
        self.assertEqual(answer.usage_metadata["total_tokens"], 58)

    def test_streams_with_usage(self):
        chunks = list(chat(stream_usage=True).stream("hello"))
        self.assertEqual("".join(chunk.content for chunk in chunks), "You said: hello")
        self.assertEqual(sum(chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata), 29)

    def test_calls_its_own_tools_and_goes_on_with_their_results(self):
        bound = chat().bind_tools([WEATHER])
        question = HumanMessage("get_weather of Paris")
        answer = bound.invoke([question])
        (call,) = answer.tool_calls
        self.assertEqual((call["name"], call["args"]), ("get_weather", {"city": "Paris"}))
        result = ToolMessage("sunny", tool_call_id=call["id"])
        self.assertEqual(bound.invoke([question, answer, result]).content, "The tool says: sunny")

    def test_gets_structured_output(self):
        structured = chat().with_structured_output(SCHEMA, method="json_schema")
        self.assertEqual(structured.invoke("How is Paris?"), {"city": "Paris", "degrees": 24})


if __name__ == "__main__":
    unittest.main()
