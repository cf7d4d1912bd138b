"""Side-by-side measurements, each with a check that both sides did the same work. `make bench` runs them."""
