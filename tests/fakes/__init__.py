"""Stand-ins for the outside: programs, a web server with scripted faults, tiny ELF files."""
