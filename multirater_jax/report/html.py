"""The few pieces of markup the page is made of; every text from outside goes through ``escape``."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from multirater_jax.report.style import CHART, SHEET


def data_uri(png: bytes) -> str:
  """A PNG inside the page."""
  return f'data:image/png;base64,{b64encode(png).decode()}'


def paragraph(text: str, css: str = '') -> str:
  """A paragraph of plain text."""
  return f'<p{_class(css)}>{escape(text)}</p>'


def notes(lines: Iterable[str]) -> str:
  """A list of short remarks."""
  items = ''.join(f'<li>{escape(line)}</li>' for line in lines)
  return f'<ul class="notes">{items}</ul>' if items else ''


def chart(png: bytes, alt: str) -> str:
  """A figure with its text for those who do not see it."""
  return (
    f'<figure><img src="{data_uri(png)}" alt="{escape(alt)}" width="{css_width(png)}"></figure>'
  )


def css_width(png: bytes) -> int:
  """Width at which letters have the same size in all charts: 100 page pixels an inch.

  A PNG states its width in bytes 16 to 19.
  """
  return round(int.from_bytes(png[16:20]) * 100 / CHART['figure.dpi'])


def charts(figures: Iterable[str], large: bool = False) -> str:
  """Figures side by side, as many as the width allows."""
  return f'<div class="charts{" large" if large else ""}">{"".join(figures)}</div>'


def details(title: str, body: str) -> str:
  """A part that opens on demand."""
  return f'<details><summary>{escape(title)}</summary>{body}</details>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, plain: bool = True) -> str:
  """A table of plain text; ``plain`` aligns to the left, otherwise numbers to the right."""
  css = _class('plain' if plain else '')
  top = ''.join(f'<th scope="col"{css}>{escape(cell)}</th>' for cell in head)
  body = ''.join(
    f'<tr><th scope="row"{css}>{escape(row[0])}</th>'
    + ''.join(f'<td{css}>{escape(cell)}</td>' for cell in row[1:])
    + '</tr>'
    for row in rows
  )
  return wide(f'<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>')


def wide(body: str) -> str:
  """A part that scrolls sideways by itself on a narrow screen."""
  return f'<div class="wide" tabindex="0">{body}</div>'


def anchor(title: str) -> str:
  """The name of a section in an address."""
  return ''.join(letter if letter.isalnum() else '-' for letter in title.lower())


def page(title: str, head: str, sections: dict[str, str], foot: str) -> str:
  """The whole document; the content policy forbids it to load anything from outside."""
  links = ''.join(f'<a href="#{anchor(name)}">{escape(name)}</a>' for name in sections)
  body = ''.join(
    f'<section id="{anchor(name)}"><h2>{escape(name)}</h2>{content}</section>'
    for name, content in sections.items()
  )
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{escape(title)}</title><style>{SHEET}</style></head><body>'
    f'<header><h1>{escape(title)}</h1>{head}<nav aria-label="Sections">{links}</nav></header>'
    f'<main>{body}</main><footer>{foot}</footer></body></html>\n'
  )


def _class(css: str) -> str:
  return f' class="{css}"' if css else ''
