"""What changed between two models measured on the same items, and verdicts that know their noise."""
