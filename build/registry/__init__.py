"""A registry: the client of the OCI distribution API, and what is read from it and tagged there."""
