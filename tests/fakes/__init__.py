"""Stand-ins for the outside: programs on PATH, a web server with scripted faults, tiny ELF files."""
