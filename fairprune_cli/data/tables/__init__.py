"""Tables of text and folders of images."""
