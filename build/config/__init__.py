"""The tables of `build/data/`, and what the machine has; each is checked when it is read.

In: TOML. Out: frozen values (pins, platforms, features …), or an error that names the row.
"""
