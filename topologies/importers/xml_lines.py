"""XML with the line of each element, by the standard library's parser; entities are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from commsim.errors import InputError


@dataclass
class Element:
    """An element: tag, attributes, children, text, and the line where it begins."""

    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def of(self, tag: str) -> Iterator[Element]:
        """The children of that tag."""
        return (child for child in self.children if child.tag == tag)

    def all(self, tag: str) -> Iterator[Element]:
        """All descendants of that tag, in order."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.all(tag)


def parsed(text: str) -> Element:
    """The root element.

    Raises
    ------
    InputError
        Beginning with the line, where it is not well-formed, ends early, or declares entities.
    """
    parser = expat.ParserCreate()
    stack: list[Element] = [Element("", {}, 0)]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def data(characters: str) -> None:
        stack[-1].text += characters

    def entity(name: str, *_: object) -> None:
        raise InputError(f"{parser.CurrentLineNumber}: it declares an entity, {name!r}; no topology file needs one")

    parser.StartElementHandler, parser.EndElementHandler = start, lambda _: stack.pop() and None
    parser.CharacterDataHandler, parser.EntityDeclHandler = data, entity
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        said = expat.errors.messages[error.code]
        if said in ("no element found", "unclosed token"):
            inside = f" inside <{stack[-1].tag}> of line {stack[-1].line}" if len(stack) > 1 else ""
            raise InputError(f"{error.lineno}: the file ends{inside}: it was cut, or is not complete") from None
        raise InputError(f"{error.lineno}: not XML: {said}") from None
    return stack[0].children[0]
