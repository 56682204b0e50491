"""What broker and proxy share: frame scanning, and a minimal blocking AMQP 0-9-1 client.

Nothing in this package imports a client library: the judge shares no code with the accused.
"""
