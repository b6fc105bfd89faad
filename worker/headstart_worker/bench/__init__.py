"""The benchmark harness: one graph of compile units, built in every mode and by every peer in turn, measured alike, compared honestly."""
