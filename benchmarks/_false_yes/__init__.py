"""Ways to get a yes that should be none; a module per kind, in which each attempt is a function with `@attempt`."""
