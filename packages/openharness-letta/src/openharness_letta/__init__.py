"""The OpenHarness adapter for Letta servers. Its types are in `openharness_letta.types`."""

from openharness_letta.requirements import explained

try:
    from openharness_letta.adapter import LettaAdapter
    from openharness_letta.memory import MemoryBlockManager
except ImportError as error:
    raise explained(error) from error

__all__ = ["LettaAdapter", "MemoryBlockManager"]
