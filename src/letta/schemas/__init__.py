"""What crosses the wire: pydantic data, one file per noun, no input or output and no knowledge of storage."""
