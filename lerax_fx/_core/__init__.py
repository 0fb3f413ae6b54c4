"""The algebra: what a transform is, how transforms are combined, and what a chain checks."""
