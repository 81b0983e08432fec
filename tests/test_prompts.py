import pytest

from scaffolder.errors import ConfigError
from scaffolder.prompts import read_prompts


def read(*lines):
    return read_prompts(lines, columns=["question"], shown_as="asked.jsonl")


def test_lines_are_questions_in_order():
    assert read("Who?\n", "\n", "  What? \n") == ["Who?", "What?"]


def test_rows_name_the_question_by_the_data_sets_column_or_prompt():
    assert read('{"question": "Who?", "answer": "I"}', '{"prompt": "What?"}') == ["Who?", "What?"]


def test_a_conversation_keeps_its_messages_and_loses_the_answer_to_find():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    row = '{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}%s]}'
    assert read(row % "", row % ', {"role": "assistant", "content": "I."}') == [messages, messages]


def test_every_damaged_line_is_named():
    with pytest.raises(ConfigError) as caught:
        read(
            '{"question": ',
            "fine",
            '{"text": "Who?"}',
            '{"messages": [{"role": "assistant", "content": "I"}]}',
            '{"question": 3}',
        )
    lines = caught.value.message.splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "3", "4", "5"]
    assert "this row has `text`" in lines[1]
    assert "ends with a question" in lines[2]
    assert "`question` holds no text" in lines[3]


def test_nothing_to_ask_is_an_error():
    with pytest.raises(ConfigError, match="holds no question"):
        read("\n")


def test_rows_with_every_column_of_a_template_are_questions_as_they_are():
    row = '{"city": "Rome", "days": 3}'
    assert read_prompts([row], columns=["city", "days"], shown_as="asked.jsonl") == [row]
    with pytest.raises(ConfigError, match="no column `days`"):
        read_prompts(['{"city": "Rome", "prompt": "Where?"}'], columns=["city", "days"], shown_as="asked.jsonl")
