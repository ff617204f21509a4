from __future__ import annotations

from fanwise import ChannelOptions
from fanwise.backplane.options import Options, of_channels
from fanwise.core.namespaces import Defaults, Namespaces
from fanwise.settings import Settings


def test_histories_are_as_long_as_those_of_a_server() -> None:
    """By default: what a server retains, another one can give."""
    options, fields = Options(), Settings.model_fields
    for name in ("history_messages", "history_bytes", "history_seconds"):
        assert getattr(options, name) == fields[name].default


def test_options_of_channels_are_those_of_the_engine() -> None:
    """Without any nothing is looked up; a channel is remembered for as long as the longest history needs."""
    defaults = Defaults(10, 10, 7, 7, 60.0)
    assert of_channels(Namespaces({}, defaults)) == {}
    channels = {
        "a.*": ChannelOptions(history_messages=0),
        "b": ChannelOptions(history_messages=9, history_seconds=9000),
    }
    options = Options(history_messages=7, **of_channels(Namespaces(channels, defaults)))
    assert [options.history(name) for name in ("a.1", "b", "c")] == [(0, 0, 60.0), (9, 7, 9000.0), (7, 7, 60.0)]
    assert (options.most_messages, options.channel_seconds) == (9, 18000.0)
