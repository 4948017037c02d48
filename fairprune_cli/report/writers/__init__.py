"""One module per output format; each turns the document, or the report's gates, into text."""
