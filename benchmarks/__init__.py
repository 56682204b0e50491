"""The instrument: airspeed-velocity benchmarks and all that judges a client under chaos."""
