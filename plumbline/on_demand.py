"""On-demand views of mode python under full feature names, which Feast 0.67 cannot answer by itself."""

import copy

from feast import Field
from feast.on_demand_feature_view import OnDemandFeatureView


def with_full_names(view: OnDemandFeatureView) -> OnDemandFeatureView:
    """A copy of an on-demand view of mode python that returns `<view>__<name>` instead of `<name>`."""
    prefix = f"{view.projection.name_to_use()}__"
    copied = copy.copy(view)
    copied.features = [Field(name=prefix + field.name, dtype=field.dtype) for field in view.features]
    transform = view.transform_dict
    named = {field.name for field in view.features}
    copied.transform_dict = lambda inputs: {
        (prefix + name if name in named else name): values for name, values in transform(inputs).items()
    }
    return copied
