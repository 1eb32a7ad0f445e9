from letta import Letta

SOURCE = '''
def word_count(text: str) -> int:
    """Count the words of a text.

    Args:
        text: The text.
    """
    from langchain_core.tools import StructuredTool

    tool = StructuredTool.from_function(func=lambda text: len(text.split()), name="words", description="Count words")
    return tool.invoke({"text": text})
'''

client = Letta()
tool = client.tools.upsert(source_code=SOURCE, pip_requirements=[{"name": "langchain-core"}])
print(tool.name, [requirement.name for requirement in tool.pip_requirements or []])
