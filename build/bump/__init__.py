"""A pin to another version, with everything that follows from it.

In: a pin and a version. Out: changed tables in one rename, and what changed for us.
"""
