"""Tasks of the Makefile that are more than a line: the benchmark run, its summary, its checks."""
