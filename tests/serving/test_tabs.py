"""What a tab asked last, and how many tabs are kept."""

from fcclip.serving.tabs import Look, Seen, Tab, Tabs

SEEN = Seen("a.png", "panoshapes", 1.0, "cat")
LOOKS = [Look.of("panoptic", opacity, 0.2, True, False, False) for opacity in (0.1, 0.2, 0.3)]


def test_only_the_newest_question_is_answered() -> None:
    tab = Tab()
    for click in (1, 3, 2):
        tab.ask(click)
    assert [click for click in (1, 2, 3) if tab.is_newest(click)] == [3]
    tab.answer(1, SEEN)
    assert tab.seen is None
    tab.answer(3, SEEN)
    assert tab.seen is SEEN


def test_another_picture_is_a_question_too() -> None:
    tab = Tab()
    tab.ask(1)
    tab.answer(1, SEEN)
    tab.forget(0)
    assert tab.seen is SEEN
    tab.forget(2)
    assert tab.seen is None
    tab.answer(1, SEEN)
    assert tab.seen is None
    assert tab.is_newest(2)


def test_the_newest_look_is_kept() -> None:
    tab = Tab()
    assert tab.choose(1, LOOKS[0]) is LOOKS[0]
    assert tab.choose(3, LOOKS[2]) is LOOKS[2]
    assert tab.choose(2, LOOKS[1]) is LOOKS[2]


def test_tabs_are_bounded_in_number() -> None:
    tabs = Tabs(most=2)
    first = tabs.get("first")
    tabs.get("second")
    assert tabs.get("first") is first
    tabs.get("third")
    assert len(tabs) == 2
    assert tabs.get("first") is first
    tabs.close("first")
    tabs.close("nobody")
    assert tabs.get("first") is not first
