"""Tailscale and its command line, by the pinned Go with our linker and module patches.

In: source trees, feature tags, a platform. Out: one ELF file, its symbols, its modules.
"""
