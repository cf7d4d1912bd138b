"""The board: metrics for Prometheus, and the history and reports of a store as pages. It only reads."""
