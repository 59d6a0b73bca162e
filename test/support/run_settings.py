"""Changes to a run's configuration by the bare names of its settings, which are unique over its groups."""

import dataclasses


def changed(config, **changes):
    """The configuration with settings of its groups, or whole groups, replaced; nothing is checked."""
    for name, value in changes.items():
        fields = {field.name for field in dataclasses.fields(config)}
        if name in fields:
            config = dataclasses.replace(config, **{name: value})
            continue
        groups = [key for key in fields - {"distillation"} if hasattr(getattr(config, key), name)]
        (group,) = [key for key in groups if name in {f.name for f in dataclasses.fields(getattr(config, key))}]
        config = dataclasses.replace(config, **{group: dataclasses.replace(getattr(config, group), **{name: value})})
    return config
