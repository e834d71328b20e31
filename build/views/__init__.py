"""Results for people: tables, Markdown, plots.

In: values of the rooms below. Out: text, JSON, HTML; nothing is decided here.
"""
