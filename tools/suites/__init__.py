"""Other people's test suites, run against the embedded broker: rows of data, a runner, a judge."""
