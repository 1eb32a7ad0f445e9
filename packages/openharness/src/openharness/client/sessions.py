"""Sessions: message threads with agents."""

from openharness.client.base import ApiMethods, body, url_path
from openharness.types import CreateSessionRequest, Message, PaginatedResponse, PaginationParams, Session


class SessionMethods(ApiMethods):
    async def list_sessions(self, pagination: PaginationParams | None = None) -> PaginatedResponse[Session]:
        """One page of the sessions."""
        return await self._page(Session, "/sessions", pagination)

    async def get_session(self, session_id: str) -> Session:
        """One session."""
        return await self._one(Session, "GET", url_path("sessions", session_id))

    async def create_session(self, request: CreateSessionRequest) -> Session:
        """Start a session."""
        return await self._one(Session, "POST", "/sessions", json_data=body(request))

    async def delete_session(self, session_id: str, delete_history: bool = False) -> None:
        """Delete a session, and its messages if `delete_history`."""
        await self._transport.request(
            "DELETE", url_path("sessions", session_id), params={"delete_history": delete_history}
        )

    async def get_session_history(
        self, session_id: str, pagination: PaginationParams | None = None
    ) -> PaginatedResponse[Message]:
        """One page of a session's messages."""
        return await self._page(Message, url_path("sessions", session_id, "messages"), pagination)

    async def fork_session(self, session_id: str, name: str | None = None) -> Session:
        """A new session that starts with this one's messages."""
        named = {"name": name} if name else None
        return await self._one(Session, "POST", url_path("sessions", session_id, "fork"), json_data=named)
