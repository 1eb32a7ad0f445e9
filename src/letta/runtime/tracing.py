"""Loads `letta.runtime.spans` where traces are wanted: the OpenTelemetry SDK is an extra, and takes time to import."""

import importlib

from letta.errors import InvalidRequest
from letta.runtime.observe import Observer


def spans() -> Observer:
    """An observer that sends OpenTelemetry spans to a collector.

    Raises:
        letta.errors.InvalidRequest: the extra `otel` is not installed.
    """
    try:
        module = importlib.import_module("letta.runtime.spans")
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"otel: the extra is not installed ({error.name} is missing): install open-letta[otel]"
        ) from error
    observer: Observer = module.to_collector()
    return observer
