"""The part of the README that is made from the code: the tree. `python -m tests.demo.readme` writes it anew."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
TREE = re.compile(r"(?<=## What is where\n\n```\n).*?(?=\n```)", re.S)

OTHERS = {
    "flows/demo/base_model/": "the demo's base model, and how it was made",
    "tasks/reporting/report.html.j2": "the report page's template",
    "tasks/reporting/report.css": "its style",
    "tasks/reporting/masks.html.j2": "the mask page's template",
    "tasks/reporting/masks.css": "what its style adds",
    "deployments/presets/": "recipes of the demo",
    "deployments/recipe.schema.json": "every field of a recipe, for editors",
    "tests/": "mirrors the above; demo/ and flows/ run the whole, speed/ measures, servers/ starts a real S3",
    "constraints.txt": "the versions that are tested",
}


def tree() -> str:
    """The tree as it should stand in the README."""
    lines = []
    for folder in ("flows", "tasks"):
        lines.append(f"{folder}/")
        lines += [f"  {name:<32} {what}" for name, what in _entries(REPOSITORY / folder, "")]
    lines += [f"{name:<34} {what}" for name, what in OTHERS.items() if not name.startswith(("flows/", "tasks/"))]
    return "\n".join(lines)


def _entries(folder: Path, indent: str) -> Iterator[tuple[str, str]]:
    files = sorted(path for path in folder.iterdir() if path.suffix == ".py" and path.name != "__init__.py")
    for path in files:
        yield f"{indent}{path.name}", _first_line(path)
    for path in sorted(folder.iterdir()):
        name = path.relative_to(REPOSITORY).as_posix()
        if path.is_dir() and not path.name.startswith("__"):
            yield f"{indent}{path.name}/", OTHERS.get(f"{name}/") or _first_line(path / "__init__.py")
            yield from _entries(path, f"{indent}  ")
        elif name in OTHERS:
            yield f"{indent}{path.name}", OTHERS[name]


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) if path.exists() else None
    first = (docstring or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"[.;] (?=[A-Z])", first)[0].rstrip(".")


def main() -> None:
    """Write the tree into the README."""
    README.write_text(TREE.sub(lambda _match: tree(), README.read_text()))


if __name__ == "__main__":
    main()
