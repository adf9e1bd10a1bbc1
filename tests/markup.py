"""A page of HTML as tests look at it: its tags, its attributes, its text."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Collects tags, attributes and visible text."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


def read(text):
    """A Reader that has read a whole page."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader
