"""The frame-aware fault proxy between a client and its broker, and the ledger it keeps.

It runs in its own process, one thread, one selector. It forwards whole frames only, books what
it forwarded (the ledger P of the books), and injects faults on request. It never changes,
reorders or answers a frame: what is wrong with the stream is the client's or the broker's doing.
"""
