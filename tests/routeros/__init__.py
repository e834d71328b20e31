"""Test bed for the scripts under ``routeros/``: the language and a model of the router."""
