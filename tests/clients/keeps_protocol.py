"""An adapter is taken through the whole client protocol once, on an embedded broker of its own.

Launched by path under the Python of the client's environment: ``keeps_protocol.py NAME FOLDER``.
Prints the library's version when everything was as it should be.
"""

import sys
from pathlib import Path

from benchmarks.clients.base import Outgoing
from benchmarks.clients.loader import make_client
from benchmarks.harness.processes import Service

name, folder = sys.argv[1:]
broker = Service("broker", Path(folder), ["--port", "0"])
client = make_client(name, [f"amqp://guest:guest@127.0.0.1:{broker.wait_ready()['port']}/"], 2)


def message(identity, key="queue", mandatory=False):
    return Outgoing(identity, identity.encode() + b"\nbody", "", key, mandatory)


def drained(handle, done):
    for _ in range(100):
        if done():
            return
        try:
            client.drain_lease(handle, 0.05)
        except client.timeouts:
            pass
    raise AssertionError("it never came")


client.heartbeat = 2
client.open()
assert client.connected()
one, two = client.acquire(5.0), client.acquire(5.0)
assert client.channel_key(one) != client.channel_key(two)
try:
    client.acquire(0.01)
except client.timeouts:
    pass
else:
    raise AssertionError("a third channel of two")
assert client.declare(one, "queue", False) == "queue"
assert client.get(one, "queue") is None
receipt = client.publish_confirmed(one, message("first"), 5.0)
assert (receipt.outcome(), receipt.returned()) == ("ack", None)
got = client.get(one, "queue")
assert (got.identity, got.body, got.redelivered) == ("first", b"first\nbody", False)
client.ack(one, got.delivery_tag)
receipt = client.publish(one, message("back", "nowhere", mandatory=True))
drained(one, lambda: receipt.outcome() is not None)
assert (receipt.outcome(), receipt.returned()) == ("ack", "back")
taken = []
assert client.consume(two, "queue", "tag", 5, taken.append, no_ack=True) == "tag"
receipts = [client.publish(one, message(f"m{number}")) for number in range(9)]
drained(two, lambda: len(taken) == 9)
client.cancel(two, "tag")
client.release(one)
assert [each.outcome() for each in receipts] == ["ack"] * 9, "a release waits for its confirms"
assert [each.identity for each in taken] == [f"m{number}" for number in range(9)]
one = client.acquire(5.0)
for queue, passive, code in (("missing", True, 404), ("queue", False, 406)):
    try:
        client.declare(one, queue, passive, durable=False)
    except Exception as error:  # noqa: BLE001 - each client has its own
        assert client.reply_code(error) == code, error  # noqa: PT017 - no pytest there
    client.release(one)
    one = client.acquire(5.0)
    assert client.publish_confirmed(one, message("after"), 5.0).outcome() == "ack"
assert client.connected()
client.close(5.0)
assert not client.connected()
for call in (lambda: client.acquire(1.0), lambda: client.publish(two, message("late"))):
    try:
        call()
    except (*client.closed, *client.recoverable):
        continue
    raise AssertionError("closed, and it works")
broker.stop()
print(client.version)
