"""Todos: the plan agents work on."""

from openharness.client.base import ApiMethods, body, url_path
from openharness.types import CreateTodoRequest, Todo, UpdateTodoRequest


class PlanningMethods(ApiMethods):
    async def list_todos(self, status: str | None = None) -> list[Todo]:
        """The todos, all or those of one status."""
        return await self._many(Todo, "GET", "/todos", params={"status": status} if status else {})

    async def get_todo(self, todo_id: str) -> Todo:
        """One todo."""
        return await self._one(Todo, "GET", url_path("todos", todo_id))

    async def create_todo(self, request: CreateTodoRequest) -> Todo:
        """Add a todo."""
        return await self._one(Todo, "POST", "/todos", json_data=body(request))

    async def update_todo(self, todo_id: str, request: UpdateTodoRequest) -> Todo:
        """Change what the request sets."""
        return await self._one(Todo, "PATCH", url_path("todos", todo_id), json_data=body(request))

    async def delete_todo(self, todo_id: str) -> None:
        """Remove a todo."""
        await self._transport.request("DELETE", url_path("todos", todo_id))
