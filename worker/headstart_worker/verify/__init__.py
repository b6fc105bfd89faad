"""Runs one compile job in every way that Headstart can run it, and compares every byte.

    request (what is asked) -> copies (where it runs) -> ways (how it runs) -> comparison, places -> report

Everything happens in private copies of the working directory. Not here: judging a compiler; one that gives other bytes each time
is named as such.
"""
