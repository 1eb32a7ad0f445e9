"""Language models the harness can use."""

from openharness.client.base import ApiMethods, url_path
from openharness.types import ModelInfo


class ModelMethods(ApiMethods):
    async def list_models(self) -> list[ModelInfo]:
        """Every model."""
        return await self._many(ModelInfo, "GET", "/models")

    async def get_model(self, model_id: str) -> ModelInfo:
        """One model."""
        return await self._one(ModelInfo, "GET", url_path("models", model_id))

    async def set_model(self, model_id: str) -> None:
        """Use this model from now on."""
        await self._transport.request("POST", "/models/active", json_data={"model_id": model_id})
