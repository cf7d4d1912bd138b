"""Names of the states in which Fettle's runs wait and end: what people read, and what automations listen for."""

QUIET, OVERTAKEN, NIGHT = "Awaiting quiet", "Awaiting another run", "Awaiting night"
"""A run that will begin again later: when the data are quiet, another run has ended, or it is night."""
PUBLISHED, AWAITING_APPROVAL, REJECTED, REFUSED = "Published", "Awaiting approval", "Rejected", "Refused"
"""What became of a model: the gate refuses, a person rejects."""
NOTHING_TO_DO, OVER_BUDGET = "Nothing to do", "Over budget"
"""A retraining that did not train."""

WAITING = (QUIET, OVERTAKEN, NIGHT)
ENDED = (PUBLISHED, AWAITING_APPROVAL, REJECTED, REFUSED, NOTHING_TO_DO, OVER_BUDGET)
