"""The `letta` command as a module, because a script's path differs between machines: `python -m benchmarks.serve`."""

from letta.cli.main import app

if __name__ == "__main__":
    app()
