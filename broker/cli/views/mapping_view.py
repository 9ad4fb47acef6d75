"""Prints the results of `broker mapping`: who published a version, what differs, what a draft would change."""

from __future__ import annotations

from typing import Any

from broker.cli.documents import show_changes
from broker.cli.output import say
from broker.cli.views.hl7_view import severity_word, value_words

_SIGNS = {"removed": "-", "added": "+"}
_WORDS = {
    "accepted": "accepted, refused now",
    "refused": "refused, accepted now",
    "differs": "other worklist entries",
    "only-new": "other entries of a new message like it; what is stored stays",
    "unchanged": "no change",
    "other": "read by profiles that stay as they are",
}
_ENDS = {"messages": "no further messages were looked at: the limit is reached", "time": "the time was over"}


def who_and_why(entry: dict[str, Any]) -> str:
    """Name who published a version, who is meant if somebody else, and the reason if one is given."""
    source, author, reason = str(entry["source"]), entry["author"], entry["reason"]
    actor = source.partition(",")[0]  # a roll-back adds `, version 1 again`
    behalf = f" for {author}" if author not in ("", actor) else ""
    return source + behalf + (f": {reason}" if reason else "")


def show_difference(found: dict[str, Any]) -> None:
    """What differs between two versions, by keys and by lines."""
    say(f"from version {found['before']} to {found['after']}")
    show_changes(found["changes"])
    for place in found["places"]:
        say("")
        for line in place:
            number = line["after"] or line["before"]
            say(f"{number:>5} {_SIGNS.get(line['kind'], ' ')} {line['text']}")


def show_effects(found: dict[str, Any]) -> None:
    """The messages that would not do what they do now, and how many there are of each kind."""
    for one in found["messages"]:
        codes = f"{one['now']} -> {one['then']}"
        say(f"message {one['message']} {one['message_type']} from {one['sender']}: {codes}, {_WORDS[one['effect']]}")
        for finding in one["findings"]:
            place = f"{finding['code']} at {finding['location']}"
            say(f"   {severity_word(finding['severity'])} {place}: {finding['text']}")
        for entry in one["differences"]:
            step = f"step {entry['step']}" if entry["step"] > 0 else "new step"
            say(f"   {step} {entry['keyword']}: {value_words(entry['before'])} -> {value_words(entry['after'])}")
    counts = ", ".join(f"{number} {_WORDS[effect]}" for effect, number in found["counts"].items() if number)
    more = "" if found["whole"] else "more than "
    say(f"{found['looked']} of {more}{found['total']} messages looked at" + (f": {counts}" if counts else ""))
    if found["unread"]:
        say(f"{found['unread']} of them are not kept as a whole: they were left out")
    if found["end"] in _ENDS:
        say(_ENDS[found["end"]])
