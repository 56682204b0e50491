"""One adapter per client: the only files of the instrument that name a client library.

An adapter imports its library inside functions, because asv imports every module below
``benchmarks/`` in environments that hold only the library under test.
"""
