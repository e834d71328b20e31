"""A registry: the client of the OCI distribution API, what is read and tagged there.

In: a repository, a login. Out: blobs, manifests and tags, read back and compared.
"""
