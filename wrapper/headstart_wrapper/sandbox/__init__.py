"""Holds a job to what it declared: audits what it read and wrote, or lets the kernel refuse the rest.

`policy` decides what a job gets of what it asked for, and never less without saying so (I11). Nothing in here is imported by a job that
asks for no check.
"""
