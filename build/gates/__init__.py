"""The gates: they read products and make none.

In: images, binaries, records. Out: nothing where all is well, else all faults at once.
"""
