"""C sources cross-compiled by zig: busybox for the image, UPX and our own packer for the binaries.

In: source trees, a platform. Out: static binaries, packed and tested.
"""
