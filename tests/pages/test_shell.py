"""The frame of a page: it asks for nothing, escapes all names, and has a style for whatever stands in it."""

from __future__ import annotations

import re

from cmc_sdk.pages.shell import SWITCHES, badge, escape, facts, legend, page, share, swatch, table


def test_a_page_asks_for_nothing() -> None:
    text = page("a < b", body="<h1>x</h1>")
    assert text.startswith("<!doctype html>")
    assert "<title>a &lt; b</title>" in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://|<script|<link|@import|url\(|src=", text)


def test_names_are_escaped_everywhere() -> None:
    name = "<i>\"'"
    plain = escape(name)
    assert "<" not in plain
    assert '"' not in plain
    for made in (
        table([name], rows=[]),
        facts([(name, name)]),
        share(0.5, text=name),
        swatch("red", name),
        badge(name),
    ):
        assert plain in made
        assert "<i>" not in made


def test_a_table_sets_numbers_at_the_right() -> None:
    text = table(["given", "by", "Dice"], rows=[["ct", "mr", "0.5"], ["mr", "mr", "0.6"]], strong=[1], texts=2)
    assert "<th>given</th><th>by</th><th class=n>Dice</th>" in text
    assert "<tr><td>ct</td><td>mr</td><td class=n>0.5</td></tr>" in text
    assert "<tr class=strong><td>mr</td><td>mr</td><td class=n>0.6</td></tr>" in text


def test_the_style_knows_every_class() -> None:
    parts = [SWITCHES, badge("review"), facts([("a", "b")]), share(0.1, text="x"), legend([swatch("red", "x")])]
    parts.append(table(["a", "b"], rows=[["x", "1"]], strong=[0]))
    text = page("x", body="")
    used = {name for names in re.findall(r'class="?([^">]+)', "".join(parts)) for name in names.split()}
    assert {"switches", "badge", "facts", "share", "legend", "swatch", "n", "strong"} <= used
    assert {name for name in used if f".{name}" not in text} == set()
