"""`python -m tests.stages.families --update`: write the listings anew; without it, tell which differ."""

import sys
from pathlib import Path

from tests.stages.families.family import FAMILIES
from tests.stages.families.listing import listing, make

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Gives 1 where a listing differs and is not to be updated."""
    differing = 0
    for name, family in FAMILIES.items():
        file, text = FOLDER / f"{name}.txt", listing(make(family))
        if file.exists() and file.read_text() == text:
            continue
        print(f"{name}: {'written' if '--update' in arguments else 'differs'}")
        if "--update" in arguments:
            file.write_text(text)
        else:
            differing = 1
    return differing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
