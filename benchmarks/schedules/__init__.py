"""A controlled scheduler: real, unmodified client code, one thread at a time, in a chosen order.

It owns the order in which threads run, their clock, their locks and their sockets, and nothing
else: no operating system decides anything while it runs, so an order that broke something can be
run again, exactly. It never judges by the clock on the wall and never leaves the process patched.
It prevents the failure that stress tests cannot: a race so narrow that a million runs miss it.

- `scheduler`, `task`: who runs; `strategies`: who is chosen to run.
- `locks`, `queues`, `threads`, `clock`, `sockets`, `pipes`, `polling`: what a thread may block in.
- `patches`: puts these in place of the real ones, and takes every one of them back.
- `tracing`: where a thread may be interrupted inside the explored code.
- `tokens`, `shrink`, `story`: a finding, short enough to keep and clear enough to follow.
- `namespaces`: each run finds the names of the explored code as the first one did.
- `world`, `brokering`, `operations`, `scenarios`: what is explored. `explore`: the way in.
- `hunts`: a search as plain data; `corpus`: what was found before; `races`, `models`, `control`:
  what must be found. `supervised`, `worker`: searches in a child process; `measured`: for asv.

What it does not show: an order is explored at the granularity asked for, and in the traced packages
alone; py-amqp, the standard library and everything in C take their steps as one. Memory is taken to
be consistent. "Exhausted" means all orders with at most so many interruptions of that one scenario,
nothing more. Time of `datetime`, processes, signals and asyncio are the real ones, and the locks of
extension modules are out of sight: a thread that blocks in one is reported as a failure of the
scheduler. A program that iterates over sets of strings may take another order in another process.
"""
