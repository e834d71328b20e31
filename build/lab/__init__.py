"""The runtime laboratory: a router, its network and the internet in namespaces of this machine."""
