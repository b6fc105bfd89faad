"""The demonstration: a real workspace, built by a real host in two modes, clean and after an edit.

It shows that the product works and what it does on this machine now, in one run each. It is no benchmark: those are interleaved
and repeated (`benchmarks/`).
"""
