"""Neural differential equations."""
