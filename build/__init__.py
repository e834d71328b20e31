"""The pipeline: pinned sources in, RouterOS container images out.

Imports go one way only, from `pipeline` down to the leaves; `tests/test_imports.py` holds them to
it.
"""
