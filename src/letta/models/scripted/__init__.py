"""The scripted model: deterministic, rule-based, built in. `Call`, `Think` and `Wait` are the words of its scripts."""

from letta.models.scripted.model import ScriptedModel
from letta.models.scripted.steps import Call, Step, Think, Wait

__all__ = ["Call", "ScriptedModel", "Step", "Think", "Wait"]
