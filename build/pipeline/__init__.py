"""The order of the stages, for one platform or all; other recipes for comparison.

In: a request. Out: images that passed audit and size, and the products of `dist/`.
"""
