"""The same API as others would write it, and servers of nothing but given bytes: what `make bench` compares with.

Each is one file, written as its framework's own tutorial does it, and made no slower and no faster.
"""
