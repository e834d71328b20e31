"""What is in an image: components, versions, licences, sources.

In: binaries, pins, licence files. Out: a CycloneDX SBOM per platform, docs/SOURCES.md.
"""
