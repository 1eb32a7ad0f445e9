"""Why the adapter cannot be imported, in words that help. Knows nothing of the adapter."""

from importlib import metadata, util

NEEDED = "openharness"


def explained(error: ImportError) -> ImportError:
    """The same error, unless it comes from the wrong `openharness` or from none: then one that says so.

    The public index has an unrelated project called `openharness`, and others install a package of that name, too.
    """
    if (error.name or "").split(".")[0] != NEEDED:
        return error
    return ImportError(f"{_what_is_there()} {_what_to_do()} ({error})", name=error.name, path=error.path)


def _what_is_there() -> str:
    spec = util.find_spec(NEEDED)
    if spec is None:
        return "openharness_letta needs the OpenHarness SDK, and no package `openharness` is installed."
    place = spec.origin or next(iter(spec.submodule_search_locations or []), "an unknown place")
    providers = ", ".join(map(_described, metadata.packages_distributions().get(NEEDED, []))) or "no distribution"
    return (
        "openharness_letta needs the OpenHarness SDK, but the installed package `openharness` is another project"
        f" of the same name: {place}, from {providers}."
    )


def _described(distribution: str) -> str:
    found = metadata.metadata(distribution)
    return f"{distribution} {found['Version']} ({found['Summary'] or 'no description'})"


def _what_to_do() -> str:
    return (
        "Uninstall what provides it, then install the `openharness` that is published beside this adapter:"
        " pip uninstall -y openharness openharness-ai"
        " && pip install ./packages/openharness ./packages/openharness-letta"
    )
