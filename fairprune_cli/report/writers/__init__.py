"""One module per output format; `write(report)` turns the document of report.json into text."""
