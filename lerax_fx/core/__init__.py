"""The algebra: what a transform is, and how transforms are combined."""
