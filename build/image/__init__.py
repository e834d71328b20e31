"""The root file system, and the image made of it in `dist/` as OCI layout and archive.

In: binaries and `rootfs.toml`. Out: layers, manifests, an index: whole or not at all.
"""
