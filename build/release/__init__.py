"""A release: which tag is next, signing, publishing, moving `:stable`, telling the forge.

In: git, `dist/`, records of the gates. Out: plans, and what they do outside when applied.
"""
