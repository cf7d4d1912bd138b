"""How pages are made of templates: every value is escaped, and one that is missing is an error."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def html_environment() -> Environment:
    """An environment for the templates beside this module; each page adds its own filters."""
    return Environment(
        loader=PackageLoader("tasks", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
