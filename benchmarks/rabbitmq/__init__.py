"""Private RabbitMQ nodes, one or a cluster of three, and the faults that only a real broker has.

A service as broker and proxy are: a process of its own, here the *keeper* of the nodes, that
prints one JSON line, has a control port and ends with its lifeline. It imports no client library;
what it asks over AMQP it asks through ``wire``'s own client.
"""
