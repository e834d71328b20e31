"""What every room stands on: errors, progress, digests, processes, cache, paths, git.

In: bytes, programs and folders of this machine. Out: verified results, or one clear error.
"""
