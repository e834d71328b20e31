"""Runs of the laboratory that need builds of their own: gate, negative controls, figures.

In: images. Out: records that publishing asks for, tables of what was measured.
"""
