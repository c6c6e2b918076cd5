"""Folders of release 0.3, rewritten in the layout of this one."""
