"""scikit-learn's habits: what pipelines, `clone` and grid searches ask of an estimator.

    GridSearchCV(Classifier(encoder, tokenizer), {"method": ["features", "finetune"],
                                                  "config__max_length": [32, 128]})

An estimator is described by the arguments of its constructor, each of which it keeps as an
attribute. A config is one argument; its fields have names of their own, `config__field`. Nothing
here needs scikit-learn: only scikit-learn itself calls the methods that import it.
"""

import dataclasses
import inspect
from typing import Any, ClassVar, Self

from tinylm.errors import TinylmError


class Estimator:
    """Base of what has `fit`: its parameters by name, and a copy that is not fitted.

    kind : "classifier" or "transformer" to scikit-learn, None for anything else
    fitted : the attribute that `fit` sets; None or missing before it

    >>> from tinylm.transfer import SoftmaxRegression
    >>> SoftmaxRegression(C=2.0).set_params(seed=3).get_params()
    {'C': 2.0, 'n_folds': 3, 'seed': 3}
    """

    kind: ClassVar[str | None] = None
    fitted: ClassVar[str] = ""

    @classmethod
    def parameter_names(cls) -> list[str]:
        """The names of the constructor's arguments."""
        return list(inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Every argument of the constructor as it is now.

        deep : the fields of those that are dataclasses too, as `config__field`
        """
        found = {}
        for name in self.parameter_names():
            value = getattr(self, name)
            found[name] = value
            if deep and dataclasses.is_dataclass(value):
                for field in dataclasses.fields(value):
                    found[f"{name}__{field.name}"] = getattr(value, field.name)
        return found

    def set_params(self, **values: Any) -> Self:
        """Change arguments of the constructor, which checks them; it is not fitted after that.

        values : by the names of `get_params`     returns self
        raises TinylmError  for an unknown name, and whatever the constructor refuses
        """
        params = self.get_params(deep=False)
        nested: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            outer, dunder, inner = name.partition("__")
            if outer not in params or (dunder and not _has_field(params[outer], inner)):
                known = ", ".join(self.get_params())
                raise TinylmError(
                    f"{type(self).__name__} has no parameter {name!r}; it has {known}."
                )
            if dunder:
                nested.setdefault(outer, {})[inner] = value
            else:
                params[outer] = value
        for name, fields in nested.items():
            params[name] = dataclasses.replace(params[name], **fields)
        if values:
            fresh = type(self)(**params)
            self.__dict__.clear()
            self.__dict__.update(fresh.__dict__)
        return self

    def __sklearn_clone__(self) -> Self:
        """The same, not fitted. It shares the encoder, which no estimator changes."""
        return type(self)(**self.get_params(deep=False))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` has been called."""
        return vars(self).get(self.fitted) is not None

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know: texts go in; which kind of estimator it is."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags, TransformerTags

        classifies = self.kind == "classifier"
        return Tags(
            estimator_type=self.kind,
            target_tags=TargetTags(required=classifies),
            transformer_tags=TransformerTags() if self.kind == "transformer" else None,
            classifier_tags=ClassifierTags() if classifies else None,
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
        )


def _has_field(value: Any, name: str) -> bool:
    """Whether a value is a dataclass with a field of that name."""
    if not dataclasses.is_dataclass(value):
        return False
    return name in {field.name for field in dataclasses.fields(value)}
