"""How to load a classifier and ask it, as code that runs."""

from tasks.reporting.classifier_facts import ClassifierFacts

_ONE = """\
for found in classify([{text}]):
    print(found["label"], found["score"])
"""
_SEVERAL = """\
for found in classify([{text}], top_k=None):
    print([each["label"] for each in found if each["score"] >= 0.5])
"""


def loading(facts: ClassifierFacts) -> str:
    """Python code that labels a text with the published model."""
    text = '{"text": "A text.", "text_pair": "Another."}' if facts.text_pairs else '"A text to label."'
    return (
        "from transformers import pipeline\n\n"
        'classify = pipeline("text-classification", model="path/to/this/model", truncation=True)\n'
        + (_SEVERAL if facts.multi_label else _ONE).format(text=text)
    )


def cautions(facts: ClassifierFacts) -> list[str]:
    """What whoever uses the model should know, in plain sentences."""
    found = []
    if facts.max_length is not None:
        found.append(f"It reads the first {facts.max_length:,} tokens of a text; truncation=True cuts there.")
    if facts.calibration is not None and facts.calibration.temperature != 1:
        ending = "sigmoid" if facts.multi_label else "softmax"
        found.append(
            "For calibrated probabilities divide the logits by "
            f"{facts.calibration.temperature:.3g} before the {ending}: the pipeline does not, "
            'but gives logits when asked with function_to_apply="none".'
        )
    return found
