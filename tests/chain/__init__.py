"""The maintainer's chain on real servers: `nox -s chain`."""
