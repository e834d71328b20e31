"""The tasks: options in, one call down, a table out. `tasks.py` offers them to invoke.

In: a command line. Out: an exit code; here alone errors become one.
"""
