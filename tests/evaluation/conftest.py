import html.parser

import pytest

from portrait_tf.data.synthetic import write_synthetic


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Four people to train on and four to score, in LIP's layout."""
    folder = tmp_path_factory.mktemp("data") / "lip"
    write_synthetic(folder, 4, 4, size=(64, 64))
    return folder


class Page(html.parser.HTMLParser):
    """Checks that tags close in order; gathers pictures and words."""

    void = {"meta", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.void:
            self.open.append(tag)
        found = dict(attributes)
        assert not {"onload", "onerror"} & set(found)
        if tag == "img":
            self.images.append((found["alt"], found["src"]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.words.append(text.strip())


@pytest.fixture(scope="session")
def read_page():
    return Page
