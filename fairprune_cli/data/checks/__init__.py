"""`data check` and `data stats`: what is wrong with a data set, and how it looks."""
