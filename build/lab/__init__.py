"""The laboratory: a router, its network and the internet in namespaces of this machine.

In: an image out of its layout. Out: what each canary and each measurement saw.
"""
