"""Template leftovers: markers of chat templates that a data set's makers forgot in its texts."""

import re
from typing import Final

LEFTOVERS_PATTERN: Final = (
    # Control tokens: <|im_start|>, <|eot_id|>, <|endoftext|>; <start_of_turn>; [INST], <<SYS>>; </s> at the very end.
    r"<[|｜][A-Za-z0-9_▁ ]{2,40}[|｜]>"
    r"|</?(?:start_of_turn|end_of_turn|bos|eos)>"
    r"|\[/?INST\]|<</?SYS>>|</s>\s*$"
    # Headings of prompts that were written as one text.
    r"|(?m:^)[ \t]*#{2,3} ?(?:Instruction|Response|Input|Human|User|Assistant|System) ?:"
    r"|(?m:^)[ \t]*(?:Human|Assistant|USER|ASSISTANT) ?:"
    r"|Below is an instruction that describes a task"
)
"""In the syntax that Python's `re` and Rust's `regex` share, with the same matches in both: no look-around."""

LEFTOVERS: Final = re.compile(LEFTOVERS_PATTERN)
