"""The stages for labelled texts, one module a stage: from sources to a published classifier."""
