"""Pins to verified files and patched source trees.

In: pins, patches. Out: an object of the cache with the unpacked tree.
"""
