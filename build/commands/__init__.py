"""The commands: options in, pipeline, tables out. tasks.py offers them to invoke."""
