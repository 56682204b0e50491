"""Scenarios, workload, nemesis, history, checkers, supervision and the command line."""
