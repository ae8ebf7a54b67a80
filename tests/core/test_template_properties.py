"""What holds for every template and every value."""

from hypothesis import given
from hypothesis import strategies as st

from agentflow.core.template import Template

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)


def plain(template: Template, values: dict[str, str]) -> str:
    rendered = template.render(values)
    assert isinstance(rendered, str)
    return rendered


@given(st.text())
def test_text_without_placeholders_renders_to_itself(text: str) -> None:
    template = Template(text.replace("{", "{ "))  # a brace and a blank begin no placeholder
    assert template.names == ()
    assert plain(template, {}) == template.text


@given(st.text(alphabet="{}ab \n\\"), st.text())
def test_a_value_is_never_scanned_again(text: str, value: str) -> None:
    """Rendering a value is the same as rendering a mark and putting the value in its place afterwards."""
    template = Template(text)
    marked = plain(template, dict.fromkeys(template.names, "\0"))
    assert plain(template, dict.fromkeys(template.names, value)) == marked.replace("\0", value)


@given(NAMES, st.text("ab ,.", max_size=5), st.text("ab ,.", max_size=5), st.text())
def test_a_literal_placeholder_can_be_written_and_used_as_a_template(
    name: str, before: str, after: str, value: str
) -> None:
    template = plain(Template(f"{before}{{{{{name}}}}}{after}"), {})
    assert template == f"{before}{{{name}}}{after}"
    assert plain(Template(template), {name: value}) == f"{before}{value}{after}"


@given(st.lists(NAMES, max_size=6), st.data())
def test_pieces_stand_in_their_order(names: list[str], data: st.DataObject) -> None:
    values = {name: data.draw(st.text(), label=name) for name in names}
    template = Template(" ".join(f"{{{name}}}" for name in names))
    assert template.names == tuple(dict.fromkeys(names))
    assert plain(template, values) == " ".join(values[name] for name in names)
