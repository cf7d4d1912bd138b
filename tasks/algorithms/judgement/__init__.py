"""Statistics of pairwise judgements: win rates, length control, ratings of several models."""
