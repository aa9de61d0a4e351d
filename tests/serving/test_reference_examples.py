"""docs/reference/server.md shows what a real server takes and answers: field by field, if not value by value."""

from typing import Any

import pytest

from tests.generated import server_page
from tests.serving.server import Server

SERVERS = {
    "text-generation": "text_server",
    "embeddings": "embedding_server",
    "text-classification": "classifier_server",
}


def shape(value: Any) -> Any:
    """The names of an answer's fields; of lists that of the first item. Label names are the model's own."""
    match value:
        case dict():
            return {key: shape(inner) if key != "scores" else {} for key, inner in value.items()}
        case [first, *_]:
            return [shape(first)]
    return None


@pytest.mark.parametrize("path", server_page.EXAMPLES)
def test_a_route_answers_its_example_with_the_same_fields(path: str, request: pytest.FixtureRequest) -> None:
    example = server_page.EXAMPLES[path]
    server: Server = request.getfixturevalue(SERVERS[example.task])
    answer = server.post(path, example.request)
    assert answer.status == 200, answer.text
    assert shape(answer.json) == shape(example.answer)


@pytest.mark.parametrize("path", [path for path, (_, answer) in server_page.GET_ANSWERS.items() if answer])
def test_what_is_read_has_the_same_fields(path: str, text_server: Server) -> None:
    answer = text_server.get(path.replace("{model:.+}", "tiny"))
    assert answer.status == 200, answer.text
    assert shape(answer.json) == shape(server_page.GET_ANSWERS[path][1])
