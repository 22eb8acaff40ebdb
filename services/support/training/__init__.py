"""Fits the reranker and the default calibrations, and measures retrieval: `python -m support.training fit|evaluate`."""
