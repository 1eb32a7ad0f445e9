from typing import Any

from letta import Letta

# Wrapping a tool of another library takes three lines: a function, a docstring, and the call.
SOURCE = '''
def mean(numbers: list[float]) -> float:
    """The mean of numbers."""
    import numpy

    return float(numpy.mean(numbers))
'''

client = Letta()
tool = client.tools.upsert(source_code=SOURCE, pip_requirements=[{"name": "numpy"}])
state: Any = client.get(f"/v1/tools/{tool.id}/environment", cast_to=object)
print(state["pip"]["requirements"])
