"""The real locks, clocks and threads, as they were before anything was put in their place.

Owns the references, nothing more. The scheduler itself must run on these alone: were it to use a
name that is patched while it runs, it would wait for itself.
"""

from __future__ import annotations

import _queue
import _thread
import fcntl
import os
import random
import select
import selectors
import socket
import threading
import time

allocate_lock = _thread.allocate_lock
get_ident = _thread.get_ident
start_new_thread = _thread.start_new_thread
#: From Python 3.13 on, threading starts its threads by this one.
start_joinable_thread = getattr(_thread, "start_joinable_thread", None)
LockType = type(_thread.allocate_lock())
RLockType = _thread.RLock
threading_rlock = threading.RLock
SimpleQueue = _queue.SimpleQueue
Empty = _queue.Empty

sleep = time.sleep
monotonic = time.monotonic
monotonic_ns = time.monotonic_ns
wall = time.time
wall_ns = time.time_ns
perf_counter = time.perf_counter
perf_counter_ns = time.perf_counter_ns

thread_join = threading.Thread.join
thread_is_alive = threading.Thread.is_alive

Random = random.Random
urandom = os.urandom
Socket = socket.socket
socketpair = socket.socketpair
getaddrinfo = socket.getaddrinfo
fcntl_ = fcntl.fcntl
pipe = os.pipe
read = os.read
write = os.write
close = os.close
set_blocking = os.set_blocking
poll = select.poll
select_ = select.select
DefaultSelector = selectors.DefaultSelector
