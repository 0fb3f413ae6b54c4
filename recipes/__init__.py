"""Ready-made algorithms: each a short file to read, to import, or to run.

Nothing is imported here: `python -m recipes.ppo` would find its module imported already.
"""
