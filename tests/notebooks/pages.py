"""Parse the report's HTML."""

from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADS_FROM = {"src", "href", "srcset", "data", "poster", "action"}


class Page(HTMLParser):
    """A page of HTML. Fails if an element is closed that is not open, or is left open.

    `text`: what can be read on it; `table`: the cells of its first table, row by row; `addresses`:
    what it links to or loads; `ids`: the places that can be linked to; `front_charts`: the images
    before the first notebook.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.table: list[list[str]] = []
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.front_charts: list[str] = []
        self._open: list[str] = []
        self._tables = 0
        self._in_notebooks = False
        self.feed(html)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        attributes = {name: value or "" for name, value in attrs}
        self.addresses += [value for name, value in attributes.items() if name in LOADS_FROM]
        self.ids |= {attributes["id"]} if "id" in attributes else set()
        self._tables += tag == "table"
        self._in_notebooks |= tag == "section"
        if tag == "img" and not self._in_notebooks:
            self.front_charts.append(attributes["src"])
        if tag == "tr" and self._tables == 1:
            self.table.append([])
        if tag == "td" and self._tables == 1:
            self.table[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data: str) -> None:
        if "style" in self._open or "script" in self._open:
            return
        self.text += data
        if "td" in self._open and self._tables == 1:
            self.table[-1][-1] += data
