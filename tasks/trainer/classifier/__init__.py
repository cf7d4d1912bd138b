"""The processes that make, train and ask text classifiers."""
