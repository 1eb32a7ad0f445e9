"""Groups of agents, as data. How a group takes turns is decided at run time, not here."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from letta.schemas.common import Body, Count, Patch, Size, Wire


class ManagerType(StrEnum):
    """How a group decides whose turn it is."""

    ROUND_ROBIN = "round_robin"
    SUPERVISOR = "supervisor"
    DYNAMIC = "dynamic"
    SLEEPTIME = "sleeptime"
    VOICE_SLEEPTIME = "voice_sleeptime"
    SWARM = "swarm"


class RoundRobinManager(Wire):
    """The agents speak one after another, for at most `max_turns` or until one says `termination_token`."""

    manager_type: Literal["round_robin"] = "round_robin"
    termination_token: str | None = None
    max_turns: Size | None = None


class SupervisorManager(Wire):
    """One agent asks the others."""

    manager_type: Literal["supervisor"] = "supervisor"
    manager_agent_id: str


class DynamicManager(Wire):
    """One agent picks the next speaker until it says `termination_token` or `max_turns` is reached."""

    manager_type: Literal["dynamic"] = "dynamic"
    manager_agent_id: str
    termination_token: str | None = None
    max_turns: Size | None = None


class SleeptimeManager(Wire):
    """The other agents think in the background, after every `sleeptime_agent_frequency` turns of the main one."""

    manager_type: Literal["sleeptime"] = "sleeptime"
    manager_agent_id: str
    sleeptime_agent_frequency: Size | None = None


class VoiceSleeptimeManager(Wire):
    """A voice agent's older messages are worked into memory when more than the maximum are kept."""

    manager_type: Literal["voice_sleeptime"] = "voice_sleeptime"
    manager_agent_id: str
    max_message_buffer_length: Size | None = None
    min_message_buffer_length: Size | None = None


ManagerConfig = Annotated[
    RoundRobinManager | SupervisorManager | DynamicManager | SleeptimeManager | VoiceSleeptimeManager,
    Field(discriminator="manager_type"),
]


class RoundRobinManagerUpdate(Wire):
    """Changes to a round-robin group."""

    manager_type: Literal["round_robin"] = "round_robin"
    termination_token: str | None = None
    max_turns: Size | None = None


class SupervisorManagerUpdate(Wire):
    """Changes to a supervised group; absent keeps."""

    manager_type: Literal["supervisor"] = "supervisor"
    manager_agent_id: str | None = None


class DynamicManagerUpdate(Wire):
    """Changes to a group with a chosen next speaker; absent keeps."""

    manager_type: Literal["dynamic"] = "dynamic"
    manager_agent_id: str | None = None
    termination_token: str | None = None
    max_turns: Size | None = None


class SleeptimeManagerUpdate(Wire):
    """Changes to a group that thinks in the background; absent keeps."""

    manager_type: Literal["sleeptime"] = "sleeptime"
    manager_agent_id: str | None = None
    sleeptime_agent_frequency: Size | None = None


class VoiceSleeptimeManagerUpdate(Wire):
    """Changes to the group of a voice agent; absent keeps."""

    manager_type: Literal["voice_sleeptime"] = "voice_sleeptime"
    manager_agent_id: str | None = None
    max_message_buffer_length: Size | None = None
    min_message_buffer_length: Size | None = None


ManagerConfigUpdate = Annotated[
    RoundRobinManagerUpdate
    | SupervisorManagerUpdate
    | DynamicManagerUpdate
    | SleeptimeManagerUpdate
    | VoiceSleeptimeManagerUpdate,
    Field(discriminator="manager_type"),
]


class Group(Wire):
    """A group with the settings of its manager laid flat."""

    id: str
    manager_type: ManagerType
    agent_ids: list[str]
    description: str
    project_id: str | None = None
    template_id: str | None = None
    base_template_id: str | None = None
    deployment_id: str | None = None
    shared_block_ids: list[str] | None = None
    manager_agent_id: str | None = None
    termination_token: str | None = None
    max_turns: int | None = None
    sleeptime_agent_frequency: int | None = None
    turns_counter: Count | None = None
    last_processed_message_id: str | None = None
    max_message_buffer_length: int | None = None
    min_message_buffer_length: int | None = None
    hidden: bool | None = None


class CreateGroup(Body):
    """A group to make; without a manager the agents speak one after another."""

    never_null: ClassVar[frozenset[str]] = frozenset({"manager_config"})

    agent_ids: list[str]
    description: str
    manager_config: ManagerConfig = Field(default_factory=RoundRobinManager)
    project_id: str | None = None
    shared_block_ids: list[str] | None = None
    hidden: bool | None = None


class UpdateGroup(Patch):
    """Changes to a group. `manager_config` changes the settings of its manager, or gives it another manager."""

    never_null: ClassVar[frozenset[str]] = frozenset({"agent_ids", "description", "manager_config", "shared_block_ids"})

    agent_ids: list[str] | None = None
    description: str | None = None
    manager_config: ManagerConfigUpdate | None = None
    project_id: str | None = None
    shared_block_ids: list[str] | None = None
