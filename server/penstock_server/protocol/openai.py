"""The OpenAI API's requests, as far as this server fulfils them."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from penstock_server.engine.protocol import Sampling
from penstock_server.protocol.reading import Body

MOST_INPUTS = 2048
Text = Annotated[str, StringConstraints(min_length=1)]
# Lists end at their first fault: every fault costs a kilobyte and microseconds, and a body has room for millions.
TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, fail_fast=True)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class StreamOptions(Body):
    """What a stream carries besides text."""

    neutral: ClassVar[dict[str, Any]] = {"include_obfuscation": False}
    include_usage: bool = False


class Generate(Body):
    """What chat and plain completions share. Absent sampling fields take the model's own defaults."""

    neutral: ClassVar[dict[str, Any]] = {
        "best_of": 1,
        "echo": False,
        "logit_bias": {},
        "logprobs": False,
        "response_format": {"type": "text"},
        "service_tier": "auto",
        "store": False,
        "suffix": "",
        "tools": [],
        "top_logprobs": 0,
    }
    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: Stop | Annotated[list[Stop], Field(max_length=16, fail_fast=True)] = Field(default_factory=list)
    n: int = Field(default=1, ge=1, le=8)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None  # for the caller's own records
    metadata: dict[str, str] | None = None  # likewise

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> "Generate":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed with stream: true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """Always several."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self, defaults: Sampling) -> Sampling:
        """The request's settings over the model's."""
        names = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed")
        top_k = defaults.top_k if self.top_k is None else max(self.top_k, 0)
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return replace(defaults, **given, top_k=top_k)


class TextPart(Body):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


class Message(Body):
    """One turn of a conversation."""

    neutral: ClassVar[dict[str, Any]] = {"tool_calls": [], "audio": None, "refusal": None}
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=1000, fail_fast=True)] = ""
    name: str | None = None

    def for_template(self) -> dict[str, str]:
        """As chat templates expect it: they know no `developer`, and plain text only."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": text, **({"name": self.name} if self.name else {})}


class ChatRequest(Generate):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000, fail_fast=True)]
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @property
    def limit(self) -> int | None:
        """Tokens to write at most; None leaves it to the context."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(Generate):
    """POST /v1/completions and /completions."""

    prompt: (
        Text
        | TokenIds
        | Annotated[list[Text], Field(min_length=1, max_length=64, fail_fast=True)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=64, fail_fast=True)]
    )


class EmbeddingRequest(Body):
    """POST /v1/embeddings."""

    model: str | None = None
    input: (
        Text
        | TokenIds
        | Annotated[list[Text], Field(min_length=1, max_length=MOST_INPUTS, fail_fast=True)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MOST_INPUTS, fail_fast=True)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None


class PredictRequest(Body):
    """POST /predict: one text, or several."""

    model: str | None = None
    text: Text | None = None
    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_INPUTS, fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "PredictRequest":
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        return self
