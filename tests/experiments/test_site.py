"""Pages of the site that are made from yamls."""

from experiments.site import settings


def test_placeholders_of_a_command_are_shown():
    for path in settings.CONFIGS.glob("*.yaml"):
        fenced = settings.command(path).content.split("```")
        assert not [text for text in fenced[::2] if "<" in text], path
    train = settings.command(settings.CONFIGS / "train.yaml").content
    assert "/&lt;study>/&lt;task>-&lt;model>-s&lt;seed>[-&lt;overrides>]/." in train
