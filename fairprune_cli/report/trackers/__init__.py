"""One module per experiment tracker.

PACKAGE is what has to be installed, ENVIRONMENT what keeps its client quiet and in this process; `log(run)` tells it a
finished run and returns a note for people, if there is one. The client is imported inside `log`, by those alone who
asked for it.
"""
