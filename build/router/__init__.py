"""The scripts of the router, and a router over its REST interface.

In: templates, settings, a router. Out: `routeros/*.rsc`, a plan of changes, the changes.
"""
