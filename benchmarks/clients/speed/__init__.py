"""Clients as the speed workloads call them, one file for each library.

Beside the adapters for the trials, and thinner: there nothing may be lost sight of, here nothing
may stand between the clock and the library.
"""
