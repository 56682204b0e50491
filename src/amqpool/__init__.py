"""A thread-safe AMQP 0-9-1 connection and channel pool over py-amqp."""
