"""What the API server calls the InferenceService. It stands apart from the types, which take long to load."""

from typing import Final

GROUP: Final = "serving.penstock.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "InferenceService"
PLURAL: Final = "inferenceservices"
