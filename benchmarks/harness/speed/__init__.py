"""How fast clients are: the same work by each, in a process of its own, against one broker.

Judges nothing: whether a client does the work soundly is what the trials say.
"""
