"""`predictor.model`: a model for Penstock's own model server to fetch and serve."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from penstock.api.schema import Fragment, Free, Model, Quantities, fragment, rule, rules

Task = Literal["auto", "text-generation", "text-classification", "embeddings"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

EnvVar = Annotated[Free, fragment({"name": "Name of the environment variable."})]
Argument = Annotated[str, Field(max_length=4096)]


class ModelFormat(Model):
    """What the files at `storageUri` are."""

    name: Literal["huggingface"] = Field(
        default="huggingface",
        description="huggingface: a directory with config.json, a tokenizer and safetensors weights.",
    )


class ModelStorage(Model):
    """How to reach the source of the model."""

    secret_name: str = Field(
        min_length=1,
        max_length=253,
        description=(
            "Secret in the same namespace with the source's credentials, each key named as the client's own "
            "environment variable: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL for s3."
        ),
    )


class Resources(Model):
    """Compute resources of the container, as in a pod."""

    requests: Quantities = Field(
        default_factory=dict,
        description=(
            "What the scheduler sets aside for the container, such as cpu: 500m and memory: 2Gi. "
            "A resource that stands only in limits is requested at its limit."
        ),
    )
    limits: Quantities = Field(
        default_factory=dict,
        description=(
            'What the container may use at most. GPUs are asked for here, as in "nvidia.com/gpu": 1; the toleration '
            "that GPU nodes want is added by itself."
        ),
    )

    def requested(self, name: str) -> bool:
        """Whether the container requests the resource: by itself, or by its limit as Kubernetes defaults it."""
        return name in self.requests or name in self.limits


class ModelSpec(Model):
    """A model for Penstock's own model server to fetch and serve."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.storageUri.matches('^(file|pvc|s3)://')",
                "storageUri must begin with file://, pvc:// or s3://",
                path=".storageUri",
            ),
            rule(
                "!self.storageUri.matches('^(file|pvc|s3)://') || self.storageUri.matches("
                "'^(file:///.|pvc://[a-z0-9][a-z0-9.-]*(/|$)|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/|$))')",
                "storageUri must be file:///path, pvc://claim/path or s3://bucket/prefix",
                path=".storageUri",
            ),
            rule(
                "!self.storageUri.matches('/[.][.](/|$)')",
                "storageUri may not contain '..' as a part of its path",
                path=".storageUri",
            ),
        )
    )

    model_format: ModelFormat = Field(
        default_factory=ModelFormat, description="The format of the model; huggingface is the one there is."
    )
    storage_uri: str = Field(
        max_length=2048,
        description=(
            "Where the model is: s3://bucket/prefix (fetched when the pod starts), pvc://claim/path (a "
            "PersistentVolumeClaim of the same namespace, mounted read-only), or file:///path (a path in the image or "
            "in a volume that predictor.volumeMounts mounts)."
        ),
    )
    storage: ModelStorage | None = Field(default=None, description="How to reach the source of the model.")
    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="The model's name in requests and in /v1/models. Default: the service's own name.",
    )
    task: Task = Field(
        default="auto",
        description=(
            "What the model does, which decides the routes: text-generation, text-classification or embeddings; "
            "auto reads it from the model's own configuration."
        ),
    )
    dtype: Dtype = Field(
        default="auto",
        description=(
            "Number format of the weights and the arithmetic. auto: bfloat16 on a GPU, float32 on a CPU, whatever the "
            "model was saved in."
        ),
    )
    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Image of the model server. Default: the one the operator was installed with.",
    )
    args: list[Argument] = Field(
        default_factory=list,
        max_length=256,
        description="Further arguments of the model server, after the ones that this object implies.",
    )
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=256,
        description="Environment variables, as in a container; they win over the operator's own, name by name.",
    )
    env_from: list[Fragment] = Field(
        default_factory=list,
        max_length=64,
        description="Secrets and ConfigMaps whose keys become environment variables, as in a container.",
    )
    resources: Resources = Field(default_factory=Resources, description="Compute resources of the model server.")
