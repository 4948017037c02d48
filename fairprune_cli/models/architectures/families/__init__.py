"""Families of architectures, one per module: a table ARCHITECTURES, from names to functions of the classes."""
